"""A form made from any typed config: one labelled control for each setting, validated as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from workbench.core.config import Config, Setting, settings_of, validated
from workbench.core.errors import BadInput

_STYLE = {"description_width": "initial"}
_LAYOUT = {"width": "24em"}


class Form(ipywidgets.VBox):
    """Controls for the settings of ``config``; ``value`` is a validated config or raises ``BadInput``."""

    def __init__(self, config: type[Config], name: str = "") -> None:
        self.config = config
        self.name = name or config.__name__
        self.settings = {s.name: s for s in settings_of(config)}
        self.controls = {s.name: control(s) for s in self.settings.values()}
        self.message = ipywidgets.HTML(layout={"min_height": "1.5em"})
        super().__init__([*self.controls.values(), self.message])
        for one in self.controls.values():
            one.observe(self._check, names="value")

    def values(self) -> dict[str, Any]:
        """The settings as the controls stand, in Python types, not yet validated."""
        return {name: _read(self.settings[name], one.value) for name, one in self.controls.items()}

    @property
    def value(self) -> Config:
        return validated(self.config, self.values(), self.name)

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as a run takes them; raises ``BadInput``."""
        value = self.value
        return {s.name: getattr(value, s.name) for s in self.settings.values() if getattr(value, s.name) != s.default}

    def rows(self) -> list[dict[str, Any]]:
        """Each setting with its value and meaning, for a page without controls."""
        now = self.values()
        return [{"setting": s.name, "value": now[s.name], "meaning": s.doc} for s in self.settings.values()]

    def on_change(self, callback: Callable[[Config], None]) -> None:
        """Call with the validated config after each change that leaves the form valid."""

        def changed(_: Any) -> None:
            try:
                callback(self.value)
            except BadInput:
                return  # already said below the controls

        for one in self.controls.values():
            one.observe(changed, names="value")

    def _check(self, _: Any) -> None:
        import html

        try:
            _ = self.value
            self.message.value = ""
        except BadInput as problem:
            self.message.value = f'<span role="alert">{html.escape(str(problem))}</span>'


def form(config: type[Config], name: str = "") -> Form:
    """A form for ``config``, for instance a method's ``Config``."""
    return Form(config, name)


def control(setting: Setting) -> Any:
    """The control for one setting: a choice, a check box, a number within its range, or text."""
    label = setting.name.replace("_", " ") + (f" ({setting.unit})" if setting.unit else "")
    common: dict[str, Any] = {"description": label, "tooltip": setting.doc, "style": _STYLE, "layout": _LAYOUT}
    if setting.choices:
        return ipywidgets.Dropdown(options=list(setting.choices), value=setting.default, **common)
    if setting.type == "bool":
        return ipywidgets.Checkbox(value=bool(setting.default), indent=False, **common)
    if setting.type == "int" and setting.default is not None:
        return _bounded(ipywidgets.BoundedIntText, ipywidgets.IntText, setting, int, common)
    if setting.type == "float" and setting.default is not None:
        return ipywidgets.FloatText(value=float(setting.default), **common)
    shown = "" if setting.default is None else _written(setting.default)
    return ipywidgets.Text(value=shown, placeholder=setting.type, continuous_update=False, **common)


def _bounded(bounded: Any, free: Any, setting: Setting, kind: type, common: dict[str, Any]) -> Any:
    """A number control that cannot leave its range; both ends must be known for that."""
    if setting.low is None or setting.high is None:
        return free(value=kind(setting.default), **common)
    return bounded(value=kind(setting.default), min=kind(setting.low), max=kind(setting.high), **common)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _read(setting: Setting, value: Any) -> Any:
    """A text control's content as a Python literal unless the setting is text; numbers and choices pass."""
    if not isinstance(value, str) or setting.choices or setting.type == "str":
        return value
    import ast

    if not value.strip():
        return setting.default
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
