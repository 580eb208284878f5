"""MiniStack as the engine: the only package that touches its private parts.

`settings` prepares the process before MiniStack is imported, `seams` names every private part that
is used (a test fails loudly when one moved), `server` starts it, `carrier` carries the services of
ours, `identity` asks IAM, `host` is what services see, `roles` authorizes what MiniStack does on
behalf of a role, `integrations` runs Step Functions' tasks, the `mends_*` repair, `persistence`
keeps state.
"""
