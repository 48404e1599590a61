"""`--platform` of commands on images: an image here is for one platform, and fits or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.errors import NotFound

if TYPE_CHECKING:
    from lamina.images.image import Image


def for_platform(image: Image, platform: str | None) -> Image:
    """The image; NotFound when it is for another platform than the wanted one."""
    if platform is not None:
        from lamina.images.platform import Platform

        config = image.config
        wanted = Platform.parse(platform)
        if not Platform(config.os, config.architecture, config.variant).fits(wanted):
            shown = image.tags[0].familiar() if image.tags else str(image.id)
            raise NotFound(
                f"image with reference {shown} was found but does not provide the specified "
                f"platform ({wanted})"
            )
    return image
