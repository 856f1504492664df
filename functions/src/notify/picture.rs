//! The code of a ticket as a picture that a messenger takes.

use super::{compose, event};
use crate::Error;
use crate::buy::signed_code;
use domain::ids::{OrderId, SeatIndex, TicketId, UserId};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use platform::App;
use qrcode::{Color, QrCode};
use std::io::Write;

/// Modules of white around a code (ISO/IEC 18004: four), and pixels of a module's side.
const QUIET_MODULES: usize = 4;
const MODULE_PIXELS: usize = 6;
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The picture of the code of an order's ticket; none if nobody may enter with it any more.
pub async fn of_ticket(app: &App, buyer: UserId, order: OrderId, index: SeatIndex) -> Result<Option<Vec<u8>>, Error> {
    let order = compose::order(app, buyer, order).await?;
    if !event::is_valid(&order, index) {
        return Ok(None);
    }
    let code = signed_code(app, &order, TicketId { order: order.id, index }).await;
    let code = code.map_err(Error::from)?;
    let code = QrCode::new(code).map_err(|error| Error::new(format!("a ticket's code is no picture: {error}")))?;
    Ok(Some(draw(&code)))
}

/// A QR code as a PNG of one bit a pixel (ISO/IEC 15948): messengers take no vectors, and beside the compression the
/// format is a few lines.
fn draw(code: &QrCode) -> Vec<u8> {
    let (width, colors) = (code.width(), code.to_colors());
    let side = (width + 2 * QUIET_MODULES) * MODULE_PIXELS;
    // Each line of pixels begins with its filter, which is none.
    let stride = 1 + side.div_ceil(8);
    let mut lines = vec![0xff_u8; stride * side];
    lines.iter_mut().step_by(stride).for_each(|filter| *filter = 0);
    for (at, _) in colors.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
        let (left, top) = ((at % width + QUIET_MODULES) * MODULE_PIXELS, (at / width + QUIET_MODULES) * MODULE_PIXELS);
        for (x, y) in (0..MODULE_PIXELS * MODULE_PIXELS).map(|n| (left + n % MODULE_PIXELS, top + n / MODULE_PIXELS)) {
            lines[y * stride + 1 + x / 8] &= !(0x80 >> (x % 8));
        }
    }
    let pixels = u32::try_from(side).expect("a code has at most 177 modules").to_be_bytes();
    // One bit a pixel, in grey; compression, filters and order as the format has them.
    let header = [pixels.as_slice(), &pixels, &[1, 0, 0, 0, 0]].concat();
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = packed.write_all(&lines).and_then(|()| packed.finish()).expect("memory takes everything");
    let mut file = PNG_SIGNATURE.to_vec();
    for (name, data) in [(b"IHDR", header), (b"IDAT", packed), (b"IEND", Vec::new())] {
        let mut sum = Crc::new();
        sum.update(name);
        sum.update(&data);
        let length = u32::try_from(data.len()).expect("a picture is small").to_be_bytes();
        file.extend([length.as_slice(), name, &data, &sum.sum().to_be_bytes()].concat());
    }
    file
}
