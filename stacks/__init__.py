"""The CDK stacks: one for each module of the loop."""
