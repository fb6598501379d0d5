//! What happens to one product's numbers when one payment reserves, takes or gives back. Pure.
//!
//! `on_hand` is what lies on the shelf, `reserved` the part of it that pending payments hold,
//! `backordered` what was paid for and is not there. None is ever below zero, and
//! `on_hand - reserved` is what can still be promised: a paid order does not get what another
//! payment holds.

use std::fmt;

/// What a payment should hold of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// Nothing: not paid, or given back.
    Nothing,
    /// Set aside until the payment resolves.
    Reserved,
    /// Sold.
    Taken,
}

impl Hold {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Reserved => "reserved",
            Self::Taken => "taken",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "reserved" => Self::Reserved,
            "taken" => Self::Taken,
            _ => Self::Nothing,
        }
    }
}

/// One kind of change, as the ledger and the list of effects name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Movement {
    /// Set aside for a pending payment.
    Reserved,
    /// No longer set aside.
    Released,
    /// Sold: off the shelf, or owed as a back-order.
    Taken,
    /// Owed: the part of a sale that was not there.
    Backordered,
    /// Put back after a full refund.
    Returned,
}

impl Movement {
    /// The name in the ledger and in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "stock_reserved",
            Self::Released => "stock_released",
            Self::Taken => "stock_decremented",
            Self::Backordered => "stock_backordered",
            Self::Returned => "stock_restocked",
        }
    }
}

impl fmt::Display for Movement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A product's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// On the shelf.
    pub on_hand: i64,
    /// Of those, held by pending payments.
    pub reserved: i64,
    /// Paid for and not there.
    pub backordered: i64,
}

/// What one payment holds of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineHold {
    /// In which way.
    pub hold: Hold,
    /// How many the order has.
    pub quantity: i64,
    /// How many are set aside.
    pub reserved: i64,
    /// How many came off the shelf.
    pub taken: i64,
    /// How many are owed.
    pub backordered: i64,
}

impl LineHold {
    /// Holds nothing.
    pub const NOTHING: Self = Self {
        hold: Hold::Nothing,
        quantity: 0,
        reserved: 0,
        taken: 0,
        backordered: 0,
    };

    /// Whether any product's numbers speak of it.
    pub const fn counts_something(&self) -> bool {
        self.reserved != 0 || self.taken != 0 || self.backordered != 0
    }
}

/// Brings a line to `target`: gives back what it holds, then takes what it should. A line that is
/// there already is left alone, so that repeating changes nothing.
pub fn settle(
    level: Level,
    line: LineHold,
    target: Hold,
    quantity: i64,
) -> (Level, LineHold, Vec<(Movement, i64)>) {
    let quantity = if target == Hold::Nothing { 0 } else { quantity };
    if (line.hold, line.quantity) == (target, quantity) {
        return (level, line, Vec::new());
    }
    let mut moves = Vec::new();
    let mut note = |movement, count: i64| {
        if count > 0 {
            moves.push((movement, count));
        }
    };
    let on_hand = level.on_hand.saturating_add(line.taken);
    let reserved = level.reserved.saturating_sub(line.reserved).max(0);
    let backordered = level.backordered.saturating_sub(line.backordered).max(0);
    let free = on_hand.saturating_sub(reserved).max(0);
    let got = free.min(quantity);
    let short = quantity.saturating_sub(got);

    if target != Hold::Taken {
        note(Movement::Released, line.reserved);
    }
    note(
        Movement::Returned,
        line.taken.saturating_add(line.backordered),
    );
    let mut next = LineHold {
        hold: target,
        quantity,
        ..LineHold::NOTHING
    };
    let mut after = Level {
        on_hand,
        reserved,
        backordered,
    };
    match target {
        Hold::Nothing => {}
        Hold::Reserved => {
            next.reserved = got;
            after.reserved = reserved.saturating_add(got);
            note(Movement::Reserved, got);
        }
        Hold::Taken => {
            next.taken = got;
            next.backordered = short;
            after.on_hand = on_hand.saturating_sub(got);
            after.backordered = backordered.saturating_add(short);
            note(Movement::Taken, quantity);
            note(Movement::Backordered, short);
        }
    }
    (after, next, moves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn level(on_hand: i64) -> Level {
        Level {
            on_hand,
            ..Level::default()
        }
    }

    #[test]
    fn ten_buyers_of_the_last_three_leave_none_and_seven_owed() {
        let mut shelf = level(3);
        for _ in 0..10 {
            shelf = settle(shelf, LineHold::NOTHING, Hold::Taken, 1).0;
        }
        assert_eq!((shelf.on_hand, shelf.backordered), (0, 7));
    }

    #[test]
    fn a_paid_order_does_not_get_what_a_pending_one_holds() {
        let (shelf, held, _) = settle(level(1), LineHold::NOTHING, Hold::Reserved, 1);
        let (shelf, _, _) = settle(shelf, LineHold::NOTHING, Hold::Taken, 1);
        assert_eq!((shelf.on_hand, shelf.backordered), (1, 1));
        let (shelf, _, _) = settle(shelf, held, Hold::Taken, 1);
        assert_eq!(
            (shelf.on_hand, shelf.reserved, shelf.backordered),
            (0, 0, 1)
        );
    }

    #[test]
    fn taking_again_changes_nothing() {
        let (shelf, held, _) = settle(level(5), LineHold::NOTHING, Hold::Taken, 2);
        let again = settle(shelf, held, Hold::Taken, 2);
        assert_eq!(again, (shelf, held, Vec::new()));
    }

    proptest! {
        #[test]
        fn no_number_is_ever_below_zero_and_giving_all_back_restores_the_shelf(
            start in 0i64..20,
            steps in prop::collection::vec((0usize..3, 0u8..3, 1i64..6), 0..40),
        ) {
            let mut shelf = level(start);
            let mut lines = [LineHold::NOTHING; 3];
            for (line, hold, quantity) in steps {
                let target = [Hold::Nothing, Hold::Reserved, Hold::Taken][usize::from(hold)];
                let (after, next, _) = settle(shelf, lines[line], target, quantity);
                shelf = after;
                lines[line] = next;
                prop_assert!(shelf.on_hand >= 0 && shelf.reserved >= 0 && shelf.backordered >= 0);
                prop_assert_eq!(shelf.reserved, lines.iter().map(|l| l.reserved).sum::<i64>());
                prop_assert_eq!(shelf.backordered, lines.iter().map(|l| l.backordered).sum::<i64>());
                prop_assert!(shelf.reserved <= shelf.on_hand);
            }
            for line in lines {
                shelf = settle(shelf, line, Hold::Nothing, 0).0;
            }
            prop_assert_eq!(shelf, level(start));
        }

        #[test]
        fn reserving_first_takes_no_more_and_no_less(start in 0i64..20, quantity in 1i64..20) {
            let (shelf, held, _) = settle(level(start), LineHold::NOTHING, Hold::Reserved, quantity);
            let by_way_of_pending = settle(shelf, held, Hold::Taken, quantity).0;
            let at_once = settle(level(start), LineHold::NOTHING, Hold::Taken, quantity).0;
            prop_assert_eq!(by_way_of_pending, at_once);
        }
    }
}
