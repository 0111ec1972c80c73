//! SQL92 expressions and the properties that they judge.

use ringmq_wire::sql::{Bounds, Program};

const BOUNDS: Bounds = Bounds { bytes: 4096, nesting: 50, nodes: 500 };

/// A line with the expression in which `;` stands for a new line; what follows it is properties.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (expression, properties) = text.split_once('\n').unwrap_or((text, ""));
    let expression = expression.replace(';', "\n");
    match Program::compile(&expression, &BOUNDS) {
        Ok(program) => {
            let chosen = program.chooses(properties);
            let again = Program::compile(&expression, &BOUNDS).expect("it compiled before");
            assert_eq!(again.chooses(properties), chosen);
            assert!(program.cost() <= 2 * BOUNDS.nodes);
            if let Some(from) = program.ignored_from() {
                assert!(!expression[from..].is_empty());
                // What is not looked at makes no difference; but without it a comment may end otherwise.
                if let Ok(short) = Program::compile(&expression[..from], &BOUNDS) {
                    assert_eq!(short.chooses(properties), chosen);
                }
            }
            // Of an opposite at most one chooses.
            if program.ignored_from().is_none()
                && let Ok(opposite) = Program::compile(&format!("not ({expression}\n)"), &BOUNDS)
            {
                assert!(!(chosen && opposite.chooses(properties)));
            }
        }
        Err(error) => assert!(error.character <= expression.chars().count() + 1, "{error}"),
    }
}
