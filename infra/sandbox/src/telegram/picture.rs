//! Pictures: what Telegram takes for one.

const BYTES_MAX: usize = 10 * 1024 * 1024;
const SIDES_MAX: u32 = 10_000;
const RATIO_MAX: u32 = 20;

/// Width and height of a PNG, in pixels.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    Some((number(8)?, number(12)?))
}

/// Why Telegram refuses this as a picture. Of a JPEG nothing more is known here than that it is one.
pub(super) fn refusal(bytes: &[u8]) -> Option<&'static str> {
    if bytes.len() > BYTES_MAX {
        return Some("PHOTO_INVALID_SIZE");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return None;
    }
    let Some((width, height)) = size(bytes) else { return Some("IMAGE_PROCESS_FAILED") };
    let (short, long) = (width.min(height), width.max(height));
    let is_refused = short == 0 || long.saturating_add(short) > SIDES_MAX || long > short.saturating_mul(RATIO_MAX);
    is_refused.then_some("PHOTO_INVALID_DIMENSIONS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_one() {
        let png = |width: u32, height: u32| {
            let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
            bytes.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
            bytes
        };
        for (bytes, refused) in [
            (png(300, 300), None),
            (b"\xff\xd8\xff\xe0".to_vec(), None),
            (b"<svg/>".to_vec(), Some("IMAGE_PROCESS_FAILED")),
            (Vec::new(), Some("IMAGE_PROCESS_FAILED")),
            (png(0, 3), Some("PHOTO_INVALID_DIMENSIONS")),
            (png(10, 201), Some("PHOTO_INVALID_DIMENSIONS")),
            (png(5_001, 5_000), Some("PHOTO_INVALID_DIMENSIONS")),
            (vec![0; BYTES_MAX + 1], Some("PHOTO_INVALID_SIZE")),
        ] {
            assert_eq!(refusal(&bytes), refused);
        }
    }
}
