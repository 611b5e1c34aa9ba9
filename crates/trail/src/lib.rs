//! The trail: what the entries of the Audit table say as a whole.
//!
//! [`Step`] is one entry, as a step in the life of its item. [`fold`](fold()) puts the steps of an item in order, and finds
//! what is missing or altered. It is pure: it does not access tables or the local world.
//!
//! | file | what it holds |
//! |---|---|
//! | `value` | a value, compared by what it is or by its hash |
//! | `backfill` | the entry that backfilling writes |
//! | `step` | one entry as a change |
//! | `gap` | a place where the trail breaks |
//! | `image` | an item at one time: which changes fit it, and their results |
//! | `balance` | whether any order of changes can fit |
//! | `chain`, `search` | the order of changes within one second, of one attribute and of whole items |
//! | `budget` | how many steps the searches of one fold may take |
//! | `fold` | all of it together |
//! | `verdict` | what the entries of one item prove, as findings |

mod backfill;
mod balance;
mod budget;
mod chain;
mod fold;
mod gap;
mod image;
mod search;
mod step;
mod value;
mod verdict;

pub use backfill::{backfill_id, backfill_plan, omit_item};
pub use fold::{Fold, Origin, SNAPSHOT_WINDOW, fold};
pub use gap::{Gap, GapKind};
pub use image::Image;
pub use step::{Change, ChangeKind, Step, WholeItem};
pub use value::{Attributes, Item, Value};
pub use verdict::{Finding, Present, Verdict};
