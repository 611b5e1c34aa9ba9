//! Values and items as DynamoDB JSON: checked and measured, without building trees.
//!
//! An entry has its values as they are in the record. A tree of each would cost an allocation for each name and each
//! scalar, and many times the memory of the text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;

use super::{InvalidValue, Number, decode_base64, equal};

/// The maximum number of levels of lists and maps that can be read: about twice what DynamoDB stores. So what has been
/// read can be read again as part of something larger, within the limit of the JSON parser.
const MAX_DEPTH: usize = 60;

/// A JSON string, borrowed from the text unless it has escapes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct JsonText<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A value as it was delivered, read and measured. Two are equal if their texts are; [`Self::is_same_value`] compares
/// their meaning. [`Self::invalid`] says why DynamoDB would refuse a value that has the right form.
#[derive(Debug, Clone, Copy)]
pub struct JsonValue<'a> {
    json: &'a RawValue,
    measure: Measure,
}

/// An item as it was delivered. No two of its attributes have the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonItem<'a> {
    /// In order of name.
    attributes: Vec<(Cow<'a, str>, JsonValue<'a>)>,
}

impl<'a> JsonValue<'a> {
    /// The text.
    #[must_use]
    pub fn json(&self) -> &'a str {
        self.json.get()
    }

    /// The size in bytes, as [`size`](super::size) counts it.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.measure.size
    }

    /// How many levels of lists and maps it has; scalars and sets have none.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.measure.depth
    }

    /// Why DynamoDB would refuse the value, or one nested in it. If there are several reasons, the same one is given each
    /// time.
    #[must_use]
    pub const fn invalid(&self) -> Option<InvalidValue> {
        self.measure.invalid
    }

    /// Whether the two are the same value; see [`equal`].
    #[must_use]
    pub fn is_same_value(&self, other: &Self) -> bool {
        self == other
            || match (self.tree(), other.tree()) {
                (Ok(one), Ok(other)) => equal(&one, &other),
                _ => false,
            }
    }

    /// The value as a tree.
    ///
    /// # Errors
    ///
    /// It cannot fail in practice: the same text was read before.
    pub fn tree(&self) -> Result<AttributeValue, serde_json::Error> {
        serde_json::from_str(self.json.get())
    }

    /// The text of a string, a number or binary, as DynamoDB JSON has it; `None` for a value of another type.
    #[must_use]
    pub fn scalar_text(&self) -> Option<Cow<'a, str>> {
        #[derive(Deserialize)]
        enum Scalar<'a> {
            S(#[serde(borrow)] JsonText<'a>),
            N(#[serde(borrow)] JsonText<'a>),
            B(#[serde(borrow)] JsonText<'a>),
        }
        match serde_json::from_str(self.json.get()).ok()? {
            Scalar::S(text) | Scalar::N(text) | Scalar::B(text) => Some(text.0),
        }
    }
}

impl PartialEq for JsonValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.json.get() == other.json.get()
    }
}

impl Eq for JsonValue<'_> {}

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'a> JsonItem<'a> {
    /// The attributes, in order of name.
    #[must_use]
    pub fn attributes(&self) -> &[(Cow<'a, str>, JsonValue<'a>)] {
        &self.attributes
    }

    /// The attribute of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&JsonValue<'a>> {
        let place = self.attributes.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.attributes[place].1)
    }

    /// The size of the item as one value, a map, in bytes, as [`size`](super::size) counts it.
    #[must_use]
    pub fn size(&self) -> usize {
        let members = self.attributes.iter().map(|(name, value)| Measure::member(name, value.size()));
        Measure::EMPTY.size + members.sum::<usize>()
    }

    /// How many levels of lists and maps the item has as one value.
    #[must_use]
    pub fn depth(&self) -> usize {
        1 + self.attributes.iter().map(|(_, value)| value.depth()).max().unwrap_or_default()
    }

    /// The item as one value, as a tree.
    ///
    /// # Errors
    ///
    /// It cannot fail in practice: the same text was read before.
    pub fn tree(&self) -> Result<AttributeValue, serde_json::Error> {
        let members = self.attributes.iter().map(|(name, value)| Ok((name.clone().into_owned(), value.tree()?)));
        members.collect::<Result<_, _>>().map(AttributeValue::M)
    }
}

/// As one value, a map.
impl Serialize for JsonItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Members<'m, 'a>(&'m [(Cow<'a, str>, JsonValue<'a>)]);
        impl Serialize for Members<'_, '_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }
        serializer.collect_map([("M", Members(&self.attributes))])
    }
}

const DUPLICATE: &str = "two members have the same name";

impl<'de: 'a, 'a> Deserialize<'de> for JsonValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?;
        // Without the error's own words, whose position is in the value and not in the whole text.
        let measure = serde_json::from_str(json.get()).map_err(|_| D::Error::custom("not a value of DynamoDB"))?;
        Ok(Self { json, measure })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonItem<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = JsonItem<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an item")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut attributes = Vec::with_capacity(8);
                while let Some((JsonText(name), value)) = map.next_entry()? {
                    attributes.push((name, value));
                }
                attributes.sort_unstable_by(|(one, _), (other, _): &(Cow<'_, str>, _)| one.cmp(other));
                if attributes.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                    return Err(A::Error::custom(DUPLICATE));
                }
                Ok(JsonItem { attributes })
            }
        }
        deserializer.deserialize_map(ItemVisitor)
    }
}

/// What reading a value once reveals.
#[derive(Debug, Clone, Copy)]
struct Measure {
    size: usize,
    depth: usize,
    invalid: Option<InvalidValue>,
}

impl Measure {
    /// An empty list or map.
    const EMPTY: Self = Self { size: 3, depth: 1, invalid: None };

    const fn scalar(size: usize) -> Self {
        Self { size, depth: 0, invalid: None }
    }

    fn number(text: &str) -> Self {
        Number::parse(text).map_or(Self { invalid: Some(InvalidValue::Number), ..Self::scalar(text.len()) }, |number| {
            Self::scalar(number.size())
        })
    }

    /// What a member of a map adds to its size.
    const fn member(name: &str, size: usize) -> usize {
        1 + name.len() + size
    }

    /// Adds a member of a list or a map, which adds this many bytes.
    fn add<E: Error>(&mut self, bytes: usize, member: Self) -> Result<(), E> {
        self.size += bytes;
        self.depth = self.depth.max(1 + member.depth);
        self.invalid = first(self.invalid, member.invalid);
        if self.depth > MAX_DEPTH { Err(E::custom("nested too deeply to be read")) } else { Ok(()) }
    }

    /// A set: its size is that of its members.
    fn set<T>(members: &[T], measure: impl Fn(&T) -> Self) -> Self {
        let empty = members.is_empty().then_some(InvalidValue::EmptySet);
        let start = Self { invalid: empty, ..Self::scalar(0) };
        members.iter().map(measure).fold(start, |set, member| Self {
            size: set.size + member.size,
            invalid: first(set.invalid, member.invalid),
            ..set
        })
    }
}

/// DynamoDB's types (Amazon DynamoDB API Reference, `AttributeValue`).
#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Type {
    S,
    N,
    B,
    Bool,
    Null,
    L,
    M,
    Ss,
    Ns,
    Bs,
}

/// The first of several reasons in their order of declaration, whatever the order of the values.
fn first(one: Option<InvalidValue>, other: Option<InvalidValue>) -> Option<InvalidValue> {
    one.into_iter().chain(other).min()
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Measure;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value with its type")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Measure, A::Error> {
                let bytes = |text: &JsonText<'_>| match decode_base64(&text.0) {
                    Some(bytes) => Ok(Measure::scalar(bytes.len())),
                    None => Err(A::Error::custom("not base64")),
                };
                let value_type = map.next_key()?.ok_or_else(|| A::Error::custom("a value without a type"))?;
                let measure = match value_type {
                    Type::S => Measure::scalar(map.next_value::<JsonText<'_>>()?.0.len()),
                    Type::N => Measure::number(&map.next_value::<JsonText<'_>>()?.0),
                    Type::B => bytes(&map.next_value()?)?,
                    Type::Bool => map.next_value::<bool>().map(|_| Measure::scalar(1))?,
                    Type::Null => {
                        let invalid = (!map.next_value::<bool>()?).then_some(InvalidValue::Null);
                        Measure { invalid, ..Measure::scalar(1) }
                    }
                    Type::L => map.next_value::<ListMeasure>()?.0,
                    Type::M => map.next_value::<MapMeasure>()?.0,
                    Type::Ss => {
                        Measure::set(&map.next_value::<Vec<JsonText<'_>>>()?, |text| Measure::scalar(text.0.len()))
                    }
                    Type::Ns => Measure::set(&map.next_value::<Vec<JsonText<'_>>>()?, |text| Measure::number(&text.0)),
                    Type::Bs => {
                        let members = map.next_value::<Vec<JsonText<'_>>>()?;
                        let members = members.iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
                        Measure::set(&members, |member| *member)
                    }
                };
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(measure),
                    Some(_) => Err(A::Error::custom("a value with two types")),
                }
            }
        }
        deserializer.deserialize_map(ValueVisitor)
    }
}

/// The measure of a list, from its members.
struct ListMeasure(Measure);

impl<'de> Deserialize<'de> for ListMeasure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = ListMeasure;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<ListMeasure, A::Error> {
                let mut list = Measure::EMPTY;
                while let Some(member) = members.next_element::<Measure>()? {
                    list.add(1 + member.size, member)?;
                }
                Ok(ListMeasure(list))
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}

/// The measure of a map, from its members.
struct MapMeasure(Measure);

impl<'de> Deserialize<'de> for MapMeasure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor;
        impl<'de> Visitor<'de> for MapVisitor {
            type Value = MapMeasure;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<MapMeasure, A::Error> {
                let (mut map, mut names) = (Measure::EMPTY, Vec::new());
                while let Some((name, member)) = members.next_entry::<JsonText<'de>, Measure>()? {
                    map.add(Measure::member(&name.0, member.size), member)?;
                    names.push(name);
                }
                names.sort_unstable();
                // A tree would silently keep the last of them; DynamoDB documents nothing for such a map.
                if names.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(A::Error::custom(DUPLICATE));
                }
                Ok(MapMeasure(map))
            }
        }
        deserializer.deserialize_map(MapVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tests::{any_value, value};
    use crate::value::{depth, size};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn raw(json: &impl Serialize) -> Box<RawValue> {
        serde_json::value::to_raw_value(json).unwrap()
    }

    fn value_of(json: &RawValue) -> serde_json::Result<JsonValue<'_>> {
        serde_json::from_str(json.get())
    }

    fn item_of(json: &RawValue) -> serde_json::Result<JsonItem<'_>> {
        serde_json::from_str(json.get())
    }

    #[test]
    fn a_value_that_dynamodb_refuses_has_its_reason() {
        for (json, expected) in [
            (json!({"N": "x"}), Some(InvalidValue::Number)),
            (json!({"M": {"a": {"L": [{"NS": ["1", "y"]}]}}}), Some(InvalidValue::Number)),
            (json!({"SS": []}), Some(InvalidValue::EmptySet)),
            (json!({"NS": []}), Some(InvalidValue::EmptySet)),
            (json!({"BS": []}), Some(InvalidValue::EmptySet)),
            (json!({"NULL": false}), Some(InvalidValue::Null)),
            (json!({"L": []}), None),
            (json!({"M": {}}), None),
            (json!({"S": ""}), None),
            (json!({"B": ""}), None),
        ] {
            assert_eq!(value_of(&raw(&json)).unwrap().invalid(), expected, "{json}");
        }
    }

    #[test]
    fn one_of_several_reasons_is_the_same_in_every_order() {
        let reasons = [json!({"NULL": false}), json!({"SS": []}), json!({"N": "x"})];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let list = raw(&json!({ "L": order.map(|index: usize| &reasons[index]) }));
            assert_eq!(value_of(&list).unwrap().invalid(), Some(InvalidValue::Number), "{list}");
        }
    }

    #[test]
    fn what_is_not_a_value_is_refused() {
        for text in [
            "{}",
            r#""secret""#,
            "null",
            r#"{"X":"secret"}"#,
            r#"{"S":1}"#,
            r#"{"N":1}"#,
            r#"{"S":"a","N":"1"}"#,
            r#"{"B":"secret!"}"#,
            r#"{"L":{"M":{}}}"#,
            r#"{"L":[{"SS":["a",5]}]}"#,
            r#"{"M":{"a":{"S":""},"a":{"S":""}}}"#,
        ] {
            assert!(serde_json::from_str::<JsonValue<'_>>(text).is_err(), "{text}");
            let item = format!("{{\n\"a\":{text}}}");
            let error = serde_json::from_str::<JsonItem<'_>>(&item).unwrap_err();
            // Just after it.
            assert_eq!((error.line(), error.column()), (2, "\"a\":".len() + text.len() + 1), "{text}");
        }
    }

    #[test]
    fn an_item_has_its_attributes_in_order_of_name() {
        let item = raw(&json!({"b": {"S": "x"}, "é": {"BOOL": true}, "a\n": {"N": "1"}}));
        let item = item_of(&item).unwrap();
        assert_eq!(item.attributes().iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a\n", "b", "é"]);
        assert_eq!(item.get("b").unwrap().scalar_text().unwrap(), "x");
        assert_eq!(item.get("c"), None);
    }

    #[test]
    fn an_item_with_two_attributes_of_a_name_is_refused_with_its_place() {
        let item: &RawValue = serde_json::from_str(r#"{"a":{"S":""},"\u0061":{"S":""}}"#).unwrap();
        let error = item_of(item).unwrap_err();
        assert_eq!((error.line(), error.column()), (1, item.get().len()));
    }

    #[test]
    fn a_value_may_be_written_in_any_way_that_json_allows() {
        for (text, json) in [
            (r#"{"\u0053":"\u0061"}"#, json!({"S": "a"})),
            ("{ \"L\" :\n[ {\"N\":\"1\"}\t, {\"NULL\":true} ] }", json!({"L": [{"N": "1"}, {"NULL": true}]})),
            (r#"{"M":{"\u00e9\n":{"S":"\ud83d\ude00"}}}"#, json!({"M": {"é\n": {"S": "😀"}}})),
        ] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            let (read, tree) = (value_of(raw).unwrap(), value(json));
            assert_eq!((read.size(), read.depth(), read.tree().unwrap()), (size(&tree), depth(&tree), tree), "{text}");
        }
        for text in [r#"{"S":"a","S":"b"}"#, r#"{"S":"\ud800"}"#, r#"{"M":{"a":{"S":""},"\u0061":{"S":""}}}"#] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            assert!(value_of(raw).is_err(), "{text}");
        }
    }

    /// Every value that is accepted can be read again within something larger; the others are refused at once.
    #[test]
    fn a_value_that_is_read_can_be_taken_apart_however_deep_it_is() {
        for levels in [31, 32, 59, 60, 61, 62, 63, 64, 200] {
            let value = format!("{}{}{}", r#"{"L":["#.repeat(levels), r#"{"S":""}"#, "]}".repeat(levels));
            let item = RawValue::from_string(format!(r#"{{"a":{value}}}"#)).unwrap();
            let read = item_of(&item);
            assert_eq!(read.is_ok(), levels <= 60, "{levels} levels");
            if let Ok(item) = read {
                assert_eq!(item.depth(), levels + 1);
                assert!(item.tree().is_ok() && item.attributes()[0].1.tree().is_ok(), "{levels} levels");
            }
        }
    }

    /// JSON that is nearly a value.
    fn any_json() -> impl Strategy<Value = Value> {
        let names = ["S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS", "x"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            prop::sample::select(vec!["", "1", "AAE=", "AAF=", "-1e5", "é\n"]).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 16, 3, move |inner| {
            prop_oneof![
                1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                4 => (prop::sample::select(names.to_vec()), inner.clone()).prop_map(|(name, value)| json!({ name: value })),
                1 => prop::collection::btree_map(prop::sample::select(names.to_vec()), inner, 0..3)
                    .prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        /// The trees come from another implementation.
        #[test]
        fn what_is_measured_is_true_of_the_tree(value in any_value()) {
            let json = raw(&value);
            let measured = value_of(&json).unwrap();
            prop_assert_eq!((measured.size(), measured.depth(), measured.invalid()), (size(&value), depth(&value), None));
            prop_assert_eq!(measured.tree().unwrap(), value);
        }

        #[test]
        fn exactly_the_texts_that_are_trees_are_values(json in any_json()) {
            let is_tree = serde_json::from_value::<AttributeValue>(json.clone()).is_ok();
            prop_assert_eq!(value_of(&raw(&json)).is_ok(), is_tree, "{}", json);
        }

        #[test]
        fn values_are_equal_exactly_where_their_trees_are(one in any_value(), other in any_value()) {
            let (one_json, other_json) = (raw(&one), raw(&other));
            let (one_value, other_value) = (value_of(&one_json).unwrap(), value_of(&other_json).unwrap());
            prop_assert_eq!(one_value.is_same_value(&other_value), equal(&one, &other));
            prop_assert!(one_value.is_same_value(&one_value));
        }

        #[test]
        fn an_item_is_measured_as_one_value(members in prop::collection::hash_map("[a-e]{1,3}", any_value(), 0..5)) {
            let (json, tree) = (raw(&members), AttributeValue::M(members));
            let item = item_of(&json).unwrap();
            prop_assert_eq!((item.size(), item.depth()), (size(&tree), depth(&tree)));
            prop_assert_eq!(serde_json::to_value(&item).unwrap(), serde_json::to_value(&tree).unwrap());
            prop_assert_eq!(item.tree().unwrap(), tree);
        }
    }

    #[test]
    fn numbers_are_equal_by_value_in_any_form() {
        let (one, other) = (raw(&value(json!({"N": "1"}))), raw(&value(json!({"N": "1.0"}))));
        let (one, other) = (value_of(&one).unwrap(), value_of(&other).unwrap());
        assert!(one.is_same_value(&other) && one != other);
    }
}
