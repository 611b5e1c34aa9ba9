//! What every command prints, whatever it does: to a full disk, to a closed pipe, to a terminal, and with hostile text.

mod completions;
mod hostile;
mod pseudo_terminal;
mod scene;
mod terminal;
mod watching;
mod writes;
