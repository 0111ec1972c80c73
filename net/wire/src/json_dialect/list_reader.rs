//! A long list in one field of an object, element by element: for bodies that take too long to read in one go.
//!
//! Invariants: the grammar and the bounds are the parser's; the object ends with the text, or the last step fails. Of a repeated field the
//! first counts here. On failure: a `BodyError` as `read` gives it, once; what was read before it stands.

use serde::de::DeserializeOwned;

use super::parser::Parser;
use super::{BodyError, Key, de};

pub struct ListReader {
    text: String,
    at: usize,
    values: usize,
    place: Place,
}

enum Place {
    /// Before an element, if it is not the list's end.
    First,
    /// Behind an element.
    Behind,
    End,
}

impl ListReader {
    /// The list in `field`; without that field, or with null in it, it is empty.
    pub fn open(body: &[u8], field: &str) -> Result<Self, BodyError> {
        // Bad UTF-8 is replaced, as Java does.
        let text = String::from_utf8_lossy(body).into_owned();
        let mut parser = Parser::at(&text, 0, 0);
        parser.space();
        if parser.peek() != Some(b'{') {
            return Err(parser.error("expected an object"));
        }
        parser.enter(1)?;
        let mut place = Place::End;
        if parser.peek() == Some(b'}') {
            parser.at += 1;
            parser.end()?;
        } else {
            loop {
                let is_it = matches!(parser.key_and_colon(1)?, Key::Text(key) if key == field);
                if is_it && parser.peek() == Some(b'[') {
                    parser.enter(2)?;
                    place = Place::First;
                    break;
                }
                let value = parser.value(1)?;
                if is_it && !matches!(value, super::Value::Null) {
                    return Err(BodyError::Shape(format!("{field}: expected a list")));
                }
                if parser.next_or_end(b'}', "expected a comma or the end of the object")? {
                    parser.end()?;
                    break;
                }
            }
        }
        let (at, values) = (parser.at, parser.values);
        Ok(Self { text, at, values, place })
    }

    /// The next element; `None`: there are no more, and the text ends as it should.
    pub fn read_next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, BodyError> {
        let place = std::mem::replace(&mut self.place, Place::End);
        let mut parser = Parser::at(&self.text, self.at, self.values);
        let is_last = match place {
            Place::End => return Ok(None),
            Place::First if parser.peek() == Some(b']') => {
                parser.at += 1;
                true
            }
            Place::First => false,
            Place::Behind => parser.next_or_end(b']', "expected a comma or the end of the list")?,
        };
        if is_last {
            while !parser.next_or_end(b'}', "expected a comma or the end of the object")? {
                parser.key_and_colon(1)?;
                parser.value(1)?;
            }
            parser.end()?;
            return Ok(None);
        }
        let element = T::deserialize(de::ValueDeserializer(&parser.value(2)?))?;
        (self.at, self.values, self.place) = (parser.at, parser.values, Place::Behind);
        Ok(Some(element))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TopicConfig, TopicConfigList, read, to_vec};
    use super::*;

    fn all(body: &[u8]) -> Result<Vec<TopicConfig>, BodyError> {
        let mut reader = ListReader::open(body, "topicConfigList")?;
        let mut all = Vec::new();
        while let Some(topic) = reader.read_next()? {
            all.push(topic);
        }
        assert!(matches!(reader.read_next::<TopicConfig>(), Ok(None)));
        Ok(all)
    }

    #[test]
    fn elements_are_what_the_whole_body_has() {
        let topic = |n: usize| TopicConfig { topic_name: format!("t\"{n}\\"), ..TopicConfig::default() };
        for count in [0, 1, 2, 50] {
            let list = TopicConfigList { topic_config_list: (0..count).map(topic).collect() };
            assert_eq!(all(&to_vec(&list)).unwrap(), list.topic_config_list);
        }
        for text in [
            r#"{}"#,
            r#"{"topicConfigList":null}"#,
            r#" { "a" : [ { } ] , "topicConfigList" : [ ] , "b" : 1 } "#,
            r#"{"a":{"topicConfigList":[1]},"topicConfigList":[{"topicName":"x","perm":4},{}],"b":{0:1}}"#,
        ] {
            let whole: TopicConfigList = read(text.as_bytes()).unwrap();
            assert_eq!(all(text.as_bytes()).unwrap(), whole.topic_config_list, "{text}");
        }
    }

    #[test]
    fn what_is_no_body_is_refused_as_a_whole_would_be() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"topicConfigList":"#,
            r#"{"topicConfigList":["#,
            r#"{"topicConfigList":[{}"#,
            r#"{"topicConfigList":[{},]}"#,
            r#"{"topicConfigList":[{}]"#,
            r#"{"topicConfigList":[{}]}x"#,
            r#"{"topicConfigList":[{}],"a"}"#,
            r#"{"topicConfigList":7}"#,
            r#"{"topicConfigList":[{"perm":"much"}]}"#,
        ] {
            let whole: Result<TopicConfigList, _> = read(text.as_bytes());
            assert!(whole.is_err() && all(text.as_bytes()).is_err(), "{text}");
        }
    }
}
