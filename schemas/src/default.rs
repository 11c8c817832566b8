//! Values that several kinds fill in where nothing is said.

use tidegate_ids::Period;

pub(crate) const fn one() -> u32 {
    1
}

pub(crate) fn five_minutes() -> Period {
    Period::seconds(300)
}

pub(crate) fn main() -> String {
    "main".to_owned()
}
