"""What a command is given: the settings of this call, and the engine, opened when first asked for.

@click.pass_obj
def command(app: App, ...) -> int | None:
    engine = app.engine
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from lamina.cli.settings import Settings
    from lamina.engine import Engine


class App:
    """One call of the command line: its global flags, environment, settings and engine."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.debug = False
        self.config: str | None = None
        self.root: str | None = None
        self.runtime: str | None = None
        self.storage_driver: str | None = None
        self.storage_options: list[str] = []
        self.failure_code = 1
        self._settings: Settings | None = None
        self._engine: Engine | None = None

    @property
    def settings(self) -> Settings:
        """Flags, then environment, then the configuration file."""
        if self._settings is None:
            from lamina.cli.settings import resolve

            self._settings = resolve(self)
        return self._settings

    @property
    def engine(self) -> Engine:
        """The engine on the data root of the settings."""
        if self._engine is None:
            from lamina.engine import Engine

            settings = self.settings
            self._engine = Engine(
                settings.root,
                storage_driver=settings.storage_driver,
                storage_options=settings.storage_options,
                runtime=settings.runtime,
                boot_id=settings.boot_id,
            )
        return self._engine

    def close(self) -> None:
        """Close the engine, if one was opened."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def open_engine(ctx: click.Context) -> Engine:
    """The engine of this call."""
    app = ctx.find_object(App)
    assert app is not None
    return app.engine
