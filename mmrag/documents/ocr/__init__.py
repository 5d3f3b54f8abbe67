"""OCR: pictures to words with confidence, where a page has ink without text or a layer that is wrong."""
