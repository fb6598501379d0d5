//! `[retention]`.

use super::{DAY, Reader, SECOND};
use crate::settings::RetentionSettings;

pub(super) fn read_retention(reader: &mut Reader) -> Option<RetentionSettings> {
    let personal_data = reader.read("retention.personal_data", |text| {
        if text == "off" {
            return Some(None);
        }
        humantime::parse_duration(text)
            .ok()
            .filter(|age| (SECOND..=DAY.saturating_mul(3_650)).contains(age))
            .map(Some)
    })?;
    Some(RetentionSettings { personal_data })
}
