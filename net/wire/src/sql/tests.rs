use super::*;

const BOUNDS: Bounds = Bounds { bytes: 4096, nesting: 32, nodes: 256 };

fn compile(text: &str) -> Result<Program, SqlError> {
    Program::compile(text, &BOUNDS)
}

#[track_caller]
fn chooses(text: &str, properties: &[(&str, &str)]) -> bool {
    let mut stored = String::new();
    for (name, value) in properties {
        crate::properties::append(&mut stored, name, value);
    }
    compile(text).unwrap_or_else(|error| panic!("{text}: {error}")).chooses(&stored)
}

#[track_caller]
fn refused(text: &str, character: usize) -> Problem {
    let error = compile(text).expect_err(text);
    assert_eq!(error.character, character, "{text}: {error}");
    error.problem
}

#[test]
fn operators() {
    for (text, properties, chosen) in [
        ("a = 'x'", &[("a", "x")][..], true),
        ("a <> 'x'", &[("a", "x")], false),
        ("a <> 'x'", &[("a", "y")], true),
        ("a = 5 and b > 4.5", &[("a", "5"), ("b", "4.6")], true),
        ("a>5", &[("a", "6")], true),
        ("a>=5 AND a<=5", &[("a", "5")], true),
        ("a < -3", &[("a", "-4")], true),
        ("a < - -3", &[("a", "2")], true),
        ("a between 1 and 3", &[("a", "3")], true),
        ("a not between 1 and 3", &[("a", "3")], false),
        ("a NOT between 1 and 3", &[("a", "0")], true),
        ("a in ('x', 'y''z')", &[("a", "y'z")], true),
        ("a not in ('x', 'y')", &[("a", "x")], false),
        ("a not in ('x', 'y')", &[("a", "z")], true),
        ("a is null", &[("b", "z")], true),
        ("a is not null", &[("a", "z")], true),
        ("a contains 'bc'", &[("a", "abcd")], true),
        ("a not contains 'bc'", &[("a", "abcd")], false),
        ("a startswith 'ab'", &[("a", "abcd")], true),
        ("a not startsWith 'b'", &[("a", "abcd")], true),
        ("a endswith 'cd'", &[("a", "abcd")], true),
        ("a not endswith 'cd'", &[("a", "abcd")], false),
        ("a = TRUE", &[("a", "TrUe")], true),
        ("a = false", &[("a", "anything")], true),
        ("(a = 1 or b = 1) and not (c = 1)", &[("b", "1"), ("a", "2"), ("c", "3")], true),
        ("a = 1 /* a comment */ and -- another\n b = 2", &[("a", "1"), ("b", "2")], true),
        ("\u{c}$a_1='é'", &[("$a_1", "é")], true),
        ("TRUE", &[], true),
        ("NULL", &[], false),
    ] {
        assert_eq!(chooses(text, properties), chosen, "{text} of {properties:?}");
    }
}

#[test]
fn what_is_missing_is_neither_true_nor_false() {
    for (text, chosen) in [
        ("a = 1", false),
        ("a <> 1", false),
        ("not (a = 1)", false),
        ("a > 1 or TRUE", true),
        ("a > 1 or FALSE", false),
        ("not (a > 1 and FALSE)", true),
        ("not (a > 1 and TRUE)", false),
        ("a in ('x')", false),
        ("a not in ('x')", false),
        // Absence is no text, and not even NOT CONTAINS chooses it.
        ("a contains 'x'", false),
        ("a not contains 'x'", false),
        ("not (a contains 'x')", true),
        // RocketMQ's own: two absent ones are equal, and so is an absent one to a signed one.
        ("a = b", true),
        ("a = -b", true),
        ("a is null is null", false),
        ("a not between 1 and 2", false),
    ] {
        assert_eq!(chooses(text, &[("other", "1")]), chosen, "{text}");
    }
}

#[test]
fn text_becomes_what_it_is_compared_with() {
    for (text, a, chosen) in [
        ("a = 5", "+5", true),
        ("a = 5", "5.0", false),
        ("a <> 5", "5.0", false),
        ("a = 5.0", "5", true),
        ("a = 5.0", " 5.0d ", true),
        ("a > 5", "3000000000", false),
        ("a > 3000000000", "3000000001", true),
        ("a > 5.5", "NaN", true),
        ("a > 5.5", "inf", false),
        ("a > 5.5", "Infinity", true),
        ("a > 5.5", "1e3", true),
        ("a = '5'", "5", true),
        ("a = '5'", "5.0", false),
        // A word that is no number ends it, whatever else is true ...
        ("a > 5 or TRUE", "x", false),
        // ... unless it is not looked at.
        ("TRUE or a > 5", "x", true),
        ("FALSE and a > 5", "x", false),
        ("not (FALSE and a > 5)", "x", true),
        ("TRUE = a", "true", false),
        ("a", "true", false),
        ("not a", "true", true),
        // NOT binds tighter than =: this compares a truth value with a number.
        ("not a = 5", "6", false),
        ("'abc' contains 'b' and a = 1", "1", true),
        ("a contains ''", "x", false),
        ("a not contains ''", "x", false),
    ] {
        assert_eq!(chooses(text, &[("a", a)]), chosen, "{text} with a={a}");
    }
    assert!(chooses("a < b", &[("a", "9"), ("b", "10")]), "two properties are compared as numbers");
    assert!(chooses("a <> b", &[("a", "9"), ("b", "09")]), "but are equal as texts");
}

#[test]
fn errors_have_a_place() {
    assert!(matches!(refused("", 1), Problem::Unexpected { .. }));
    assert!(matches!(refused("a > ", 5), Problem::Unexpected { .. }));
    assert!(matches!(refused("é = 1", 1), Problem::Character('é')));
    assert!(matches!(refused("'é' = #", 7), Problem::Character('#')));
    assert!(matches!(refused("a != 1", 3), Problem::Character('!')));
    assert!(matches!(refused("a = 'x", 5), Problem::OpenText));
    assert!(matches!(refused("a = 1 /* x", 7), Problem::OpenComment));
    assert!(matches!(refused("a.b = 1", 2), Problem::Character('.')));
    assert!(matches!(refused("a between 3 and 2", 11), Problem::EmptyRange));
    assert!(matches!(refused("a between 3 and 'x'", 17), Problem::NotOrdered(_)));
    assert!(matches!(refused("a > 'x'", 5), Problem::NotOrdered(_)));
    assert!(matches!(refused("a > TRUE", 5), Problem::NotOrdered(_)));
    assert!(matches!(refused("a > 1 > 2", 1), Problem::NotOrdered(_)));
    assert!(matches!(refused("a = NULL", 5), Problem::EqualsNull));
    assert!(matches!(refused("TRUE = 1", 8), Problem::ConstantOfAnotherKind));
    assert!(matches!(refused("a in (1)", 7), Problem::Unexpected { .. }));
    assert!(matches!(refused("'a' in ('a')", 1), Problem::InOfNoProperty(_)));
    assert!(matches!(refused("a = 9223372036854775808", 5), Problem::WholeNumber(_)));
    assert!(matches!(refused("a > 0.0", 5), Problem::Double(_)));
    assert!(matches!(refused("a > 1e999", 5), Problem::Double(_)));
    assert!(matches!(refused("a = 1 and 5", 11), Problem::NoTruthValue(_)));
    assert!(matches!(refused("-a", 1), Problem::NoTruthValue(_)));
    assert!(matches!(refused("a is 5", 6), Problem::Unexpected { .. }));
    assert!(matches!(refused("a not 5", 7), Problem::Unexpected { .. }));
    assert!(matches!(refused("(a = 1", 7), Problem::Unexpected { .. }));
}

#[test]
fn what_follows_is_not_looked_at() {
    for (text, from) in
        [("a = 1 b = 2", 6), ("a = 1)", 5), ("a = 05", 5), ("a = 1 -- end", 6), ("a = 1 ) #", 6)]
    {
        let program = compile(text).unwrap();
        assert_eq!(program.ignored_from(), Some(from), "{text}");
    }
    assert_eq!(compile("a = 1 -- end\n").unwrap().ignored_from(), None);
}

#[test]
fn what_is_too_much_is_refused() {
    let nested = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(compile(&nested(20)).is_ok());
    assert!(matches!(compile(&nested(1000)).unwrap_err().problem, Problem::TooDeep { max: 32 }));
    let not = "not ".repeat(1000) + "a";
    assert!(matches!(compile(&not).unwrap_err().problem, Problem::TooDeep { .. }));
    let chain = "a".to_string() + &" = 1".repeat(100);
    assert!(matches!(compile(&chain).unwrap_err().problem, Problem::TooDeep { .. }));
    // Many parts side by side are no depth.
    assert!(compile(&["a = 1"; 60].join(" or ")).is_ok());
    assert!(matches!(compile(&["a = 1"; 100].join(" or ")).unwrap_err().problem, Problem::TooMany { .. }));
    let long = format!("a = '{}'", "x".repeat(5000));
    assert!(matches!(compile(&long).unwrap_err().problem, Problem::TooLong { bytes: 5006, max: 4096 }));
}

#[test]
fn many_properties() {
    let names: Vec<String> = (0..40).map(|at| format!("p{at}")).collect();
    let text = names.iter().map(|name| format!("{name} = '{name}'")).collect::<Vec<_>>().join(" and ");
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    assert!(chooses(&text, &all));
    assert!(!chooses(&text, &all[1..]));
    // The last entry of a name counts.
    assert!(chooses("a = '2'", &[("a", "1"), ("a", "2")]));
}
