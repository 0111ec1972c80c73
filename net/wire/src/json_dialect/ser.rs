//! Typed bodies to text, by serde.
//!
//! Invariants: compact; in the legacy dialect integer keys are bare and a struct as a key is written as an object, in the
//! standard one every key is a string (a struct's is its legacy text) and output is ASCII. Floats are written as Java
//! writes them where the text matters (`0.0`); numbers that are not finite become `null`.

use std::fmt;

use serde::ser::{self, Serialize};

use super::Dialect;
use crate::encode::json_text::{put_ascii_string, put_string};

pub(super) struct Writer<'o> {
    pub out: &'o mut Vec<u8>,
    pub dialect: Dialect,
}

impl Writer<'_> {
    fn string(&mut self, text: &str) {
        match self.dialect {
            Dialect::Legacy => put_string(self.out, text),
            Dialect::Standard => put_ascii_string(self.out, text),
        }
    }

    fn int(&mut self, value: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn key(&mut self, key: &(impl Serialize + ?Sized)) -> Result<(), WriteError> {
        match self.dialect {
            Dialect::Legacy => key.serialize(&mut *self),
            Dialect::Standard => {
                let mut text = Vec::new();
                key.serialize(&mut Writer { out: &mut text, dialect: Dialect::Legacy })?;
                if text.first() == Some(&b'"') {
                    key.serialize(&mut *self)
                } else {
                    self.string(&String::from_utf8_lossy(&text));
                    Ok(())
                }
            }
        }
    }
}

/// A value that JSON cannot express. No body has one.
#[derive(Debug)]
pub(super) struct WriteError(String);

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WriteError {}

impl ser::Error for WriteError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        WriteError(message.to_string())
    }
}

/// A list or a map being written.
pub(super) struct Nested<'w, 'o> {
    writer: &'w mut Writer<'o>,
    first: bool,
    close: &'static str,
}

impl Nested<'_, '_> {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.writer.out.push(b',');
        }
    }

    fn close(self) {
        self.writer.out.extend_from_slice(self.close.as_bytes());
    }
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, value: $type) -> Result<(), WriteError> {
            self.int(value);
            Ok(())
        }
    )*};
}

impl<'w, 'o> ser::Serializer for &'w mut Writer<'o> {
    type Ok = ();
    type Error = WriteError;
    type SerializeSeq = Nested<'w, 'o>;
    type SerializeTuple = Nested<'w, 'o>;
    type SerializeTupleStruct = Nested<'w, 'o>;
    type SerializeTupleVariant = Nested<'w, 'o>;
    type SerializeMap = Nested<'w, 'o>;
    type SerializeStruct = Nested<'w, 'o>;
    type SerializeStructVariant = Nested<'w, 'o>;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    }

    fn serialize_bool(self, value: bool) -> Result<(), WriteError> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), WriteError> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), WriteError> {
        let text = if value.is_finite() { format!("{value:?}") } else { "null".to_owned() };
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), WriteError> {
        self.string(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), WriteError> {
        self.string(value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), WriteError> {
        Err(ser::Error::custom("bytes have no place in a body"))
    }

    fn serialize_none(self) -> Result<(), WriteError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), WriteError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), WriteError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), WriteError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &str, _: u32, variant: &'static str) -> Result<(), WriteError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), WriteError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), WriteError> {
        Err(ser::Error::custom("no body has a variant with a value"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Nested<'w, 'o>, WriteError> {
        self.out.push(b'[');
        Ok(Nested { writer: self, first: true, close: "]" })
    }

    fn serialize_tuple(self, len: usize) -> Result<Nested<'w, 'o>, WriteError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Nested<'w, 'o>, WriteError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Nested<'w, 'o>, WriteError> {
        Err(ser::Error::custom("no body has a variant with values"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Nested<'w, 'o>, WriteError> {
        self.out.push(b'{');
        Ok(Nested { writer: self, first: true, close: "}" })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Nested<'w, 'o>, WriteError> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Nested<'w, 'o>, WriteError> {
        Err(ser::Error::custom("no body has a variant with fields"))
    }
}

macro_rules! sequences {
    ($($name:ident $method:ident),*) => {$(
        impl ser::$name for Nested<'_, '_> {
            type Ok = ();
            type Error = WriteError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
                self.comma();
                value.serialize(&mut *self.writer)
            }

            fn end(self) -> Result<(), WriteError> {
                self.close();
                Ok(())
            }
        }
    )*};
}

sequences! {
    SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field
}

macro_rules! structs {
    ($($name:ident),*) => {$(
        impl ser::$name for Nested<'_, '_> {
            type Ok = ();
            type Error = WriteError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), WriteError> {
                self.comma();
                self.writer.string(name);
                self.writer.out.push(b':');
                value.serialize(&mut *self.writer)
            }

            fn end(self) -> Result<(), WriteError> {
                self.close();
                Ok(())
            }
        }
    )*};
}

structs! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Nested<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), WriteError> {
        self.comma();
        self.writer.key(key)?;
        self.writer.out.push(b':');
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), WriteError> {
        self.close();
        Ok(())
    }
}
