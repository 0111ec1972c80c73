//! `Value` to typed bodies, by serde, as leniently as the reference's library.
//!
//! Invariants: a number may come as text and text as a number; `null` entries of a struct are skipped, elsewhere `null`
//! is the type's zero; a struct takes the last of a repeated field; a map key may be bare, quoted or an object written as
//! text.

use std::borrow::Cow;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{BodyError, Key, Value, parse};

#[derive(Clone, Copy)]
pub(super) struct ValueDeserializer<'v, 'a>(pub &'v Value<'a>);

impl<'v, 'a> ValueDeserializer<'v, 'a> {
    fn int(self) -> Result<i64, BodyError> {
        match self.0 {
            Value::Int(int) => Ok(*int),
            Value::Null => Ok(0),
            Value::Bool(bool) => Ok(i64::from(*bool)),
            Value::Float(float) if float.fract() == 0.0 && float.abs() < 9e18 => Ok(*float as i64),
            Value::Text(text) if text.is_empty() => Ok(0),
            Value::Text(text) => int_of(text),
            other => Err(shape("an integer", other)),
        }
    }
}

fn int_of(text: &str) -> Result<i64, BodyError> {
    text.trim().parse().map_err(|_| BodyError::Shape(format!("expected an integer, not {:?}", clip(text))))
}

fn clip(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

fn shape(expected: &str, found: &Value<'_>) -> BodyError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "an object",
    };
    BodyError::Shape(format!("expected {expected}, not {found}"))
}

macro_rules! integers {
    ($($method:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
            visitor.visit_i64(self.int()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueDeserializer<'_, '_> {
    type Error = BodyError;

    integers! {
        deserialize_i8, deserialize_i16, deserialize_i32, deserialize_i64,
        deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(bool) => visitor.visit_bool(*bool),
            Value::Int(int) => visitor.visit_i64(*int),
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::Bool(bool) => visitor.visit_bool(*bool),
            Value::Null => visitor.visit_bool(false),
            Value::Int(int) => visitor.visit_bool(*int != 0),
            Value::Text(text) => visitor.visit_bool(text.eq_ignore_ascii_case("true") || text == "1"),
            other => Err(shape("a boolean", other)),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Int(int) => visitor.visit_f64(*int as f64),
            Value::Null => visitor.visit_f64(0.0),
            Value::Text(text) => match text.trim().parse() {
                Ok(float) => visitor.visit_f64(float),
                Err(_) => Err(shape("a number", self.0)),
            },
            other => Err(shape("a number", other)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::Text(text) => visitor.visit_str(text),
            Value::Null => visitor.visit_str(""),
            Value::Int(int) => visitor.visit_string(int.to_string()),
            Value::Float(float) => visitor.visit_string(float.to_string()),
            Value::Bool(bool) => visitor.visit_string(bool.to_string()),
            other => Err(shape("text", other)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Null => visitor.visit_seq(Items([].iter())),
            other => Err(shape("a list", other)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
            Value::Null => visitor.visit_map(Entries { entries: [].iter(), value: None }),
            other => Err(shape("an object", other)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::Map(entries) => visitor.visit_map(Fields { entries, fields: fields.iter(), value: None }),
            other => Err(shape("an object", other)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        match self.0 {
            Value::Text(text) => {
                visitor.visit_enum(IntoDeserializer::<BodyError>::into_deserializer(&**text))
            }
            other => Err(shape("a name", other)),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'v, 'a>(std::slice::Iter<'v, Value<'a>>);

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = BodyError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, BodyError> {
        self.0.next().map(|value| seed.deserialize(ValueDeserializer(value))).transpose()
    }
}

/// All entries of a map.
struct Entries<'v, 'a> {
    entries: std::slice::Iter<'v, (Key<'a>, Value<'a>)>,
    value: Option<&'v Value<'a>>,
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_> {
    type Error = BodyError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, BodyError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(KeyDeserializer(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, BodyError> {
        seed.deserialize(ValueDeserializer(self.value.take().unwrap_or(&Value::Null)))
    }
}

/// The known fields of a struct that are there and not null, each once.
struct Fields<'v, 'a> {
    entries: &'v [(Key<'a>, Value<'a>)],
    fields: std::slice::Iter<'static, &'static str>,
    value: Option<&'v Value<'a>>,
}

impl<'de> de::MapAccess<'de> for Fields<'_, '_> {
    type Error = BodyError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, BodyError> {
        for name in self.fields.by_ref() {
            let found =
                self.entries.iter().rev().find(|(key, _)| matches!(key, Key::Text(text) if text == name));
            if let Some((_, value)) = found
                && *value != Value::Null
            {
                self.value = Some(value);
                return seed.deserialize(IntoDeserializer::<BodyError>::into_deserializer(*name)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, BodyError> {
        seed.deserialize(ValueDeserializer(self.value.take().unwrap_or(&Value::Null)))
    }
}

struct KeyDeserializer<'v, 'a>(&'v Key<'a>);

macro_rules! key_integers {
    ($($method:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
            match self.0 {
                Key::Int(int) => visitor.visit_i64(*int),
                Key::Text(text) => visitor.visit_i64(int_of(text)?),
                Key::Map(_) => Err(BodyError::Shape("expected an integer key, not an object".into())),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for KeyDeserializer<'_, '_> {
    type Error = BodyError;

    key_integers! {
        deserialize_i8, deserialize_i16, deserialize_i32, deserialize_i64,
        deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.0 {
            Key::Text(text) => visitor.visit_str(text),
            Key::Int(int) => visitor.visit_string(int.to_string()),
            Key::Map(_) => Err(BodyError::Shape("expected a text key, not an object".into())),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        let value: Cow<'_, Value<'_>> = match self.0 {
            Key::Map(entries) => Cow::Owned(Value::Map(entries.clone())),
            Key::Text(text) => Cow::Owned(parse(text)?),
            Key::Int(_) => return Err(BodyError::Shape("expected an object key, not a number".into())),
        };
        ValueDeserializer(&value).deserialize_struct(name, fields, visitor)
    }

    forward_to_deserialize_any! {
        bool f32 f64 i128 u128 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}
