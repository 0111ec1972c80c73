//! The record that says which messages of a waiting queue are done.
//!
//! Body, little-endian: `u64 floor | u64 offset …`. The offsets of the waiting queue that it settles, in ascending order,
//! and the floor that there was then: below it everything is done.
//! On failure: bytes that are no such body are `None`.

const NUMBER: usize = 8;

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub floor: u64,
    pub offsets: Vec<u64>,
}

/// The body of a record.
pub fn encode(floor: u64, offsets: &[u64]) -> Vec<u8> {
    debug_assert!(!offsets.is_empty() && offsets.is_sorted());
    let mut out = Vec::with_capacity((1 + offsets.len()) * NUMBER);
    out.extend_from_slice(&floor.to_le_bytes());
    out.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
    out
}

pub fn decode(body: &[u8]) -> Option<Done> {
    let (numbers, rest) = body.as_chunks::<NUMBER>();
    let (floor, offsets) = numbers.split_first().filter(|_| rest.is_empty())?;
    let offsets = offsets.iter().map(|number| u64::from_le_bytes(*number)).collect();
    Some(Done { floor: u64::from_le_bytes(*floor), offsets })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_none_or_what_would_be_written_again(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            match decode(&bytes) {
                None => prop_assert!(bytes.is_empty() || bytes.len() % NUMBER != 0),
                Some(done) => {
                    let again = [done.floor].into_iter().chain(done.offsets).flat_map(u64::to_le_bytes);
                    prop_assert_eq!(again.collect::<Vec<u8>>(), bytes);
                }
            }
        }
    }

    #[test]
    fn reads_back_what_it_wrote_and_nothing_else() {
        let done = Done { floor: 7, offsets: vec![8, 9, u64::MAX] };
        assert_eq!(decode(&encode(7, &done.offsets)), Some(done));
        for bad in [&b""[..], b"1234567", b"123456789"] {
            assert_eq!(decode(bad), None);
        }
    }
}
