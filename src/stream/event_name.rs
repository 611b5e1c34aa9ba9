//! The kinds of change that DynamoDB Streams reports.

/// Declares the names and their list.
macro_rules! event_names {
    ($($(#[doc = $meaning:literal])* $variant:ident = $name:literal;)*) => {
        /// What was done to an item, according to a record's `eventName`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventName {
            $($(#[doc = $meaning])* $variant,)*
        }

        impl EventName {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name as DynamoDB Streams writes it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

event_names! {
    /// The item was created.
    Insert = "INSERT";
    /// The item was changed.
    Modify = "MODIFY";
    /// The item was deleted, by a user or by its time to live.
    Remove = "REMOVE";
}

impl EventName {
    /// Parses an `eventName`; `None` if DynamoDB Streams has no such event.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::EventName;

    #[test]
    fn event_names_are_those_of_dynamodb_streams() {
        for (text, name) in [
            ("INSERT", Some(EventName::Insert)),
            ("MODIFY", Some(EventName::Modify)),
            ("REMOVE", Some(EventName::Remove)),
            ("insert", None),
            ("INSERT ", None),
            ("UPSERT", None),
            ("", None),
        ] {
            assert_eq!(EventName::parse(text), name, "{text:?}");
        }
        for name in EventName::ALL {
            assert_eq!(EventName::parse(name.as_str()), Some(*name));
        }
    }
}
