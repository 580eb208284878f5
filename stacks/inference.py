"""Inference: a REST API with one route for each model, in front of the models' endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.constructs.alarms import ALARM_PERIOD, add_alarm
from stacks.constructs.function import Function
from stacks.constructs.grants import acknowledge, permit
from stacks.constructs.sagemaker_names import sagemaker_arn
from stacks.ingestion import IngestionStack
from stacks.refresh import RefreshStack
from stacks.settings import Settings
from tidemill.model import Model
from tidemill.request_schema import MAX_ROWS, request_schema

STAGE = "predict"
INVALID_REQUEST = {
    "error": "invalid_request",
    "message": "the body must be a JSON object of the model's features and no others, each of its "
    f'column\'s type or null, or {{"rows": [...]}} with 1 to {MAX_ROWS} of such objects',
}


class InferenceStack(Stack):
    """`POST /<model>`: validated, authorized and throttled, answered by the champion."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        models: Mapping[str, Model],
        ingestion: IngestionStack,
        refresh: RefreshStack,
    ) -> None:
        super().__init__(scope, name, description="Tidemill: predictions")
        self._settings = settings
        self._with_key = settings.api_auth == "key"
        predict = self._predict(ingestion, refresh)
        self.api = self._api()
        integration = apigateway.LambdaIntegration(
            predict.function, proxy=True, allow_test_invoke=False
        )
        validator = self.api.add_request_validator(
            "Validator", validate_request_body=True, validate_request_parameters=True
        )
        for model in models.values():
            self._add_route(model, integration, validator)
        add_alarm(
            self,
            "ServerErrors",
            metric=self.api.metric_server_error(period=ALARM_PERIOD),
            above=0,
            topic=ingestion.topic,
            tells="The API answered 5xx: predict's log has the reason. Before a model's first "
            "champion the answer is 503.",
        )
        self._outputs()

    def _predict(self, ingestion: IngestionStack, refresh: RefreshStack) -> Function:
        predict = Function(
            self,
            "predict",
            ingestion.functions,
            timeout=Duration.seconds(29),
            memory_mb=512,
            environment={
                "LEDGER_TABLE": refresh.ledger.table_name,
                "NAME_PREFIX": self._settings.prefix,
            },
        )
        permit(predict.role, ["dynamodb:GetItem"], [refresh.ledger.table_arn])
        permit(
            predict.role,
            ["sagemaker:InvokeEndpoint"],
            [sagemaker_arn(self._settings.prefix, "endpoint")],
            why="There is one endpoint for each model.",
        )
        return predict

    def _api(self) -> apigateway.RestApi:
        access_log = logs.LogGroup(
            self,
            "AccessLogs",
            retention=self._settings.retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        api = apigateway.RestApi(
            self,
            "Api",
            description="Predictions by the models' champions",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            # The account's one role for API logs: without it a stage with logs is refused.
            cloud_watch_role=True,
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN,
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                tracing_enabled=True,
                metrics_enabled=True,
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,
                access_log_destination=apigateway.LogGroupLogDestination(access_log),
                access_log_format=apigateway.AccessLogFormat.json_with_standard_fields(
                    caller=True,
                    http_method=True,
                    ip=True,
                    protocol=True,
                    request_time=True,
                    resource_path=True,
                    response_length=True,
                    status=True,
                    user=True,
                ),
                throttling_rate_limit=self._settings.api_rate_limit,
                throttling_burst_limit=self._settings.api_burst_limit,
            ),
            default_method_options=apigateway.MethodOptions(
                authorization_type=(
                    apigateway.AuthorizationType.NONE
                    if self._with_key
                    else apigateway.AuthorizationType.IAM
                ),
                api_key_required=self._with_key,
            ),
        )
        # ApiUrl says the same under a name that can be told.
        api.node.try_remove_child("Endpoint")
        api.add_gateway_response(
            "BadBody",
            type=apigateway.ResponseType.BAD_REQUEST_BODY,
            status_code="400",
            # No variable: here they are put in unescaped, and what was found wrong has quotes.
            templates={"application/json": json.dumps(INVALID_REQUEST)},
        )
        acknowledge(
            api,
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs]",
            "The policy that API Gateway asks for by name when an account's log role is set.",
        )
        acknowledge(
            api,
            "AwsSolutions-APIG3",
            "Callers are authorized and throttled; a firewall is for whoever opens the API wide.",
        )
        acknowledge(
            api,
            "AwsSolutions-COG4",
            "Callers are programs with IAM identities or an API key, not people with passwords.",
        )
        if self._with_key:
            acknowledge(
                api,
                "AwsSolutions-APIG4",
                "The setting api_auth=key asks for API keys in place of IAM identities.",
            )
            self._add_key(api)
        return api

    def _add_key(self, api: apigateway.RestApi) -> None:
        plan = api.add_usage_plan(
            "UsagePlan",
            throttle=apigateway.ThrottleSettings(
                rate_limit=self._settings.api_rate_limit,
                burst_limit=self._settings.api_burst_limit,
            ),
        )
        plan.add_api_stage(stage=api.deployment_stage)
        key = api.add_api_key("Key")
        plan.add_api_key(key)
        CfnOutput(self, "ApiKeyIdOutput", value=key.key_id).override_logical_id("ApiKeyId")

    def _add_route(
        self,
        model: Model,
        integration: apigateway.Integration,
        validator: apigateway.IRequestValidator,
    ) -> None:
        schema: dict[str, Any] = request_schema(model)
        body = apigateway.CfnModel(
            self,
            f"{model.name}_request",
            rest_api_id=self.api.rest_api_id,
            content_type="application/json",
            description=f"The body of a prediction by {model.name}",
            schema=schema,
        )
        method = self.api.root.add_resource(model.name).add_method(
            "POST",
            integration,
            request_models={
                "application/json": apigateway.Model.from_model_name(
                    self, f"{model.name}_body", body.ref
                )
            },
            request_validator=validator,
        )
        method.node.add_dependency(body)
        deployment = self.api.latest_deployment
        if deployment:
            # A deployment is a snapshot: a changed schema needs a new one.
            deployment.node.add_dependency(body)
            deployment.add_to_logical_id({model.name: json.dumps(schema, sort_keys=True)})

    def _outputs(self) -> None:
        for name, value in {
            "ApiId": self.api.rest_api_id,
            "ApiStage": STAGE,
            "ApiUrl": self.api.url,
            "NamePrefix": self._settings.prefix,
        }.items():
            CfnOutput(self, f"{name}Output", value=value).override_logical_id(name)
