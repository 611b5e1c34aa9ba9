use std::collections::BTreeMap;

use config_audit::clock::timestamp;
use proptest::prelude::*;

use super::*;

const ENTRIES: i64 = 300;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_726_045_348, 0).unwrap()
}

/// The entry with this number: one an hour, the last one an hour ago.
fn entry(number: i64) -> StoredEntry {
    StoredEntry {
        id: format!("entry-{number}"),
        item_key: format!("KEY_{}", number % 7),
        time: timestamp(now() - TimeDelta::hours(ENTRIES - number)),
        fingerprint: Fingerprint { content: format!("content-{number}"), provenance: None },
    }
}

fn with_content(mut entry: StoredEntry, content: &str) -> StoredEntry {
    content.clone_into(&mut entry.fingerprint.content);
    entry
}

/// Its witness, if it was stored this long after its change.
fn witness_after(entry: &StoredEntry, delay: TimeDelta) -> Witness {
    Witness {
        id: entry.id.clone(),
        fingerprint: entry.fingerprint.clone(),
        stored: Some(timestamp(time(&entry.time).unwrap() + delay)),
    }
}

fn witness(entry: &StoredEntry) -> Witness {
    witness_after(entry, TimeDelta::seconds(2))
}

/// What a comparison finds, by ID, with its counts and its tree.
fn compare(entries: &[StoredEntry], witnesses: &[Witness]) -> (BTreeMap<String, FindingKind>, Counts, Tree) {
    let mut comparison = Comparison::new();
    for entry in entries {
        comparison.add_entry(entry.clone()).unwrap();
    }
    for witness in witnesses {
        comparison.add_witness(witness.clone(), None, true).unwrap();
    }
    assert_eq!(comparison.collected(), (entries.len(), witnesses.len()));
    let mut judgement = comparison.judge(now());
    let mut findings = BTreeMap::new();
    while let Some(part) = judgement.next_part() {
        for suspect in part.unwrap() {
            let finding = suspect.finding().clone();
            assert!(findings.insert(finding.id, finding.kind).is_none());
        }
    }
    (findings, judgement.counts(), judgement.tree().clone())
}

fn all() -> (Vec<StoredEntry>, Vec<Witness>) {
    let entries: Vec<StoredEntry> = (0..ENTRIES).map(entry).collect();
    let witnesses = entries.iter().map(witness).collect();
    (entries, witnesses)
}

#[test]
fn an_untouched_trail_is_proven_whatever_was_redelivered_or_redriven() {
    let (entries, mut witnesses) = all();
    witnesses.extend(witnesses.clone());
    witnesses[5] = witness_after(&entries[5], TimeDelta::hours(30));
    witnesses[5 + entries.len()] = witnesses[5].clone();
    let mut traced = witnesses[6].clone();
    traced.fingerprint.provenance = Some("provenance".to_owned());
    witnesses.push(traced);
    let (findings, counts, _) = compare(&entries, &witnesses);
    assert_eq!(findings, BTreeMap::new());
    assert_eq!(counts, Counts { proven: entries.len(), late: 1, ..Counts::default() });
}

#[test]
fn each_kind_of_tampering_is_named() {
    let (mut entries, mut witnesses) = all();
    // One value rewritten consistently in two entries; a time altered; an entry deleted.
    for number in [10, 11, 20] {
        entries[number].fingerprint.content += "-forged";
    }
    entries.remove(30);
    // Deleted, and written again with other content, which has its own witness.
    entries[40].fingerprint.content += "-rewritten";
    witnesses.push(witness_after(&entries[40], TimeDelta::hours(2)));
    // Deleted, and written again with other content, then restored.
    let mut other = witness_after(&entries[50], TimeDelta::hours(2));
    other.fingerprint.content += "-rewritten";
    witnesses.push(other);
    // Added while the witness did not look.
    entries.push(StoredEntry { id: "forged".to_owned(), ..entry(60) });
    entries.push(StoredEntry { id: "no time".to_owned(), time: "yesterday".to_owned(), ..entry(60) });
    let future = timestamp(now() + TimeDelta::days(1));
    entries.push(StoredEntry { id: "future".to_owned(), time: future, ..entry(60) });
    let (findings, counts, _) = compare(&entries, &witnesses);
    let expected = [
        ("entry-10", FindingKind::Altered),
        ("entry-11", FindingKind::Altered),
        ("entry-20", FindingKind::Altered),
        ("entry-30", FindingKind::Deleted),
        ("entry-41", FindingKind::Altered),
        ("entry-51", FindingKind::Rewritten),
        ("forged", FindingKind::Forged),
        ("future", FindingKind::Forged),
        ("no time", FindingKind::Forged),
    ];
    assert_eq!(findings, expected.map(|(id, kind)| (id.to_owned(), kind)).into());
    assert_eq!(counts.proven, 300 - 6);
}

#[test]
fn what_the_witness_cannot_know_is_counted() {
    let (mut entries, mut witnesses) = all();
    witnesses.drain(..10);
    entries.push(StoredEntry { id: "new".to_owned(), time: timestamp(now() - TimeDelta::minutes(1)), ..entry(1) });
    let (findings, counts, _) = compare(&entries, &witnesses);
    assert_eq!(findings, BTreeMap::new());
    assert_eq!(counts, Counts { proven: 290, older: 10, pending: 1, late: 0 });
    let (findings, counts, tree) = compare(&entries, &[]);
    assert_eq!((findings.len(), counts.older, counts.pending, tree.leaves()), (0, 300, 1, 0));
}

#[test]
fn an_entry_that_was_written_meanwhile_is_judged_again() {
    let mut comparison = Comparison::new();
    for number in [1, 2, 3] {
        comparison.add_witness(witness(&entry(number)), None, false).unwrap();
    }
    let mut judgement = comparison.judge(now());
    let mut suspects = Vec::new();
    while let Some(part) = judgement.next_part() {
        suspects.extend(part.unwrap());
    }
    suspects.sort_by_key(|suspect| suspect.finding().id.clone());
    let again = [Some(entry(1)), None, Some(with_content(entry(3), "other"))];
    let kinds: Vec<_> = suspects
        .into_iter()
        .zip(again)
        .map(|(suspect, entry)| judgement.recheck(suspect, entry).map(|finding| finding.kind))
        .collect();
    assert_eq!(kinds, [None, Some(FindingKind::Deleted), Some(FindingKind::Altered)]);
    assert_eq!((judgement.counts().proven, judgement.tree().leaves()), (1, 0));
}

/// Whoever may invoke the witness function can have it witness an entry with any time in the event. The bucket's own time
/// shows it.
#[test]
fn a_backdated_witness_counts_as_late_and_an_entry_from_the_future_as_forged() {
    let mut comparison = Comparison::new();
    let future = StoredEntry { time: timestamp(now() + TimeDelta::days(7)), ..entry(2) };
    for (entry, stored) in [(entry(1), witness(&entry(1))), (future, witness(&entry(2)))] {
        comparison.add_witness(stored, Some(now()), false).unwrap();
        comparison.add_entry(entry).unwrap();
    }
    let mut judgement = comparison.judge(now());
    let mut found = Vec::new();
    while let Some(part) = judgement.next_part() {
        found.extend(part.unwrap().into_iter().map(|suspect| suspect.finding().kind));
    }
    assert_eq!((found, judgement.counts().late), (vec![FindingKind::Forged], 1));
}

/// What somebody does to one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Nothing,
    Alter,
    Delete,
    Rewrite,
    Forge,
}

proptest! {
    /// No tampering after its witness goes unnoticed, and nothing else is reported: whatever else is done, in whatever order
    /// entries and witnesses come, and however often a batch is redelivered.
    #[test]
    fn a_finding_is_tampering_and_tampering_is_a_finding(
        acts in prop::collection::vec(prop::sample::select(vec![Act::Nothing, Act::Nothing, Act::Alter, Act::Delete, Act::Rewrite, Act::Forge]), 1..60),
        redelivered in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        rotation in any::<prop::sample::Index>(),
    ) {
        let (mut entries, mut witnesses, mut expected) = (Vec::new(), vec![witness(&entry(0))], BTreeMap::new());
        entries.push(entry(0));
        for (number, act) in (1..).zip(&acts) {
            let original = entry(number);
            let other = with_content(original.clone(), "other");
            if *act != Act::Forge {
                witnesses.push(witness(&original));
            }
            let kind = match act {
                Act::Nothing => None,
                Act::Alter => Some(FindingKind::Altered),
                Act::Delete => Some(FindingKind::Deleted),
                Act::Rewrite => {
                    witnesses.push(witness_after(&other, TimeDelta::hours(1)));
                    Some(FindingKind::Altered)
                }
                Act::Forge => Some(FindingKind::Forged),
            };
            match act {
                Act::Nothing | Act::Forge => entries.push(original.clone()),
                Act::Alter | Act::Rewrite => entries.push(other),
                Act::Delete => {}
            }
            expected.extend(kind.map(|kind| (original.id, kind)));
        }
        let whole = compare(&entries, &witnesses);
        prop_assert_eq!(&whole.0, &expected);
        let again: Vec<Witness> = redelivered.iter().map(|index| index.get(&witnesses).clone()).collect();
        witnesses.extend(again);
        let by = rotation.index(witnesses.len());
        witnesses.rotate_left(by);
        entries.reverse();
        let shuffled = compare(&entries, &witnesses);
        prop_assert_eq!((&whole.0, whole.1, whole.2.root()), (&shuffled.0, shuffled.1, shuffled.2.root()));
    }

    /// The seal reveals the loss or the alteration of any witness that it covers.
    #[test]
    fn the_root_depends_on_each_witness(count in 2_i64..60, lost in any::<prop::sample::Index>()) {
        let witnesses: Vec<Witness> = (0..count).map(|number| witness(&entry(number))).collect();
        let whole = compare(&[], &witnesses).2;
        let lost = lost.index(witnesses.len());
        let mut fewer = witnesses.clone();
        fewer.remove(lost);
        let mut altered = witnesses;
        altered[lost].fingerprint.content += "-altered";
        prop_assert_ne!(whole.root(), compare(&[], &fewer).2.root());
        prop_assert_ne!(whole.root(), compare(&[], &altered).2.root());
    }
}
