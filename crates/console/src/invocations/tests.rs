use super::*;
use crate::activity::{Activity, Ended};

fn invocation(id: &str, outcome: Result<Vec<String>, String>) -> Invocation {
    let mut invocation = Invocation::new(id.to_owned(), String::new(), DateTime::UNIX_EPOCH, vec!["1".to_owned()]);
    invocation.ended = Some(Ended { duration: std::time::Duration::from_millis(12), outcome, report: None });
    invocation
}

#[test]
fn the_list_has_pages_and_can_show_only_failures() {
    let activity = Activity::new(None);
    activity.update(|known| {
        for number in 0..120 {
            let outcome = if number % 3 == 0 { Err("it <crashed>".to_owned()) } else { Ok(Vec::new()) };
            known.invocations.push(invocation(&format!("request-{number:03}"), outcome));
        }
    });
    let view = |outcome: &str, after: &str| {
        let asked = Asked { outcome: outcome.to_owned(), after: after.to_owned() };
        activity.read(|known| View::of(known, &asked))
    };
    let first = view("", "");
    let ids = |view: &View| (view.invocations[0].request_id.clone(), view.invocations.len());
    assert_eq!((ids(&first), first.matching), (("request-119".to_owned(), 50), 120));
    assert_eq!(first.older.as_deref(), Some("/invocations?after=request%2D070"));
    let last = view("", "request-020");
    assert_eq!((ids(&last), last.older.as_deref()), (("request-019".to_owned(), 20), None));
    assert_eq!(view("failed", "").matching, 40);
    let shown = list(&view("failed", "")).into_string();
    assert!(shown.contains("it &lt;crashed&gt;") && shown.contains("✗ "), "{shown}");
    let empty = Activity::new(None).read(|known| View::of(known, &Asked::default()));
    assert!(list(&empty).into_string().contains("No invocations yet"));
}
