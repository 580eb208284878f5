"""The warehouse's network: three private subnets with no way out but to this account's buckets."""

from __future__ import annotations

from aws_cdk import Aws, Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.constructs.grants import acknowledge

ZONES = 3
CIDR = "10.42.0.0/22"


class WarehouseNetwork(Construct):
    """A VPC with neither internet nor NAT gateway, and a gateway endpoint for S3."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(CIDR),
            # Redshift Serverless wants three zones; without an account the CDK would give two.
            availability_zones=[Fn.select(zone, Fn.get_azs()) for zone in range(ZONES)],
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="Warehouse", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24
                )
            ],
            restrict_default_security_group=False,
        )
        acknowledge(
            vpc,
            "AwsSolutions-VPC7",
            "The only route out leads to this account's buckets, whose access logs record it; "
            "the warehouse's connections are in its own exported log.",
        )
        endpoint = vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        endpoint.add_to_policy(
            iam.PolicyStatement(
                principals=[iam.AnyPrincipal()],
                actions=["s3:*"],
                resources=["*"],
                conditions={"StringEquals": {"aws:ResourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        for wildcard in ("Action::s3:*", "Resource::*"):
            acknowledge(
                endpoint,
                f"AwsSolutions-IAM5[{wildcard}]",
                "It grants nothing: it narrows what roles may do to this account's buckets.",
            )
        self.subnet_ids = [subnet.subnet_id for subnet in vpc.isolated_subnets]
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            description="The warehouse: nobody in, HTTPS out",
            allow_all_outbound=False,
        )
        self.security_group.add_egress_rule(
            ec2.Peer.any_ipv4(), ec2.Port.HTTPS, "To S3 by the gateway endpoint"
        )
