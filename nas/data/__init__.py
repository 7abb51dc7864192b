"""Image data: named sets, files in known formats, augmentation. Imports torch only to augment."""

from .catalogue import AUGMENTATIONS, DATASETS, FORMATS
from .images import ImageData, Images
from .loading import load, locate
from .pictures import read_images
from .stored import data_folder

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "FORMATS",
    "ImageData",
    "Images",
    "data_folder",
    "load",
    "locate",
    "read_images",
]
