"""Files of images -> pixels: JPEG, PNG, TIFF, DICOM, NIfTI."""
