//! Command lines, and what they mean or why they are refused.

use std::collections::BTreeSet;

use whereabouts_sim::vocabulary::Fault;

use super::*;

fn parsed(line: &str) -> Result<Command, Stop> {
    let words = line.split_whitespace().map(OsString::from);
    parse(
        [OsString::from("/bin/whereabouts-sim")]
            .into_iter()
            .chain(words),
    )
}

#[test]
fn a_run_has_seeds_and_perhaps_a_file() {
    let run = |seeds, json: Option<&str>| {
        let json = json.map(PathBuf::from);
        Ok(Command::Run { seeds, json })
    };
    assert_eq!(parsed("run --seeds 3..1000"), run(3..1_000, None));
    assert_eq!(parsed("run --json=- --seeds=0..1"), run(0..1, Some("-")));
}

#[test]
fn a_replay_reads_the_line_that_a_finding_prints() {
    let replay = Replay {
        seed: 7,
        bug: Some(Bug::UnknownAsSuccess),
        nodes: Some(2),
        pods: Some(4),
        rounds: Some(1),
        far_away: true,
        without: vec![Fault::LostReply, Fault::NoLeader],
        faults: Some(BTreeSet::from([0, 12])),
    };
    let expected = |replay: &Replay, trace| {
        let replay = replay.clone();
        Ok(Command::Replay { replay, trace })
    };
    assert_eq!(parsed(&replay.to_string()), expected(&replay, false));
    let line = format!("{replay} --trace --without killed");
    let mut longer = replay.clone();
    longer.without.push(Fault::Killed);
    assert_eq!(parsed(&line), expected(&longer, true));
    let none = Replay {
        faults: Some(BTreeSet::new()),
        ..replay
    };
    assert_eq!(parsed(&none.to_string()), expected(&none, false));
}

#[test]
fn what_is_not_given_has_its_default() {
    let world = String::new();
    let large = false;
    assert_eq!(
        parsed("exhaustive"),
        Ok(Command::Exhaustive { world, large })
    );
    let (seeds, bug) = (1_000, None);
    assert_eq!(parsed("planted"), Ok(Command::Planted { seeds, bug }));
    let bug = Some(Bug::StaleReads);
    assert_eq!(
        parsed("planted --seeds 9 --bug stalereads"),
        Ok(Command::Planted { seeds: 9, bug })
    );
}

/// Lines, and the first line of the answer.
const WRONG: [(&str, &str); 20] = [
    ("frobnicate", "unrecognized subcommand 'frobnicate'"),
    ("help frobnicate", "unrecognized subcommand 'frobnicate'"),
    ("--seeds 0..1", "unexpected argument '--seeds' found"),
    ("run", "the following required arguments were not provided:"),
    (
        "run --seeds",
        "a value is required for '--seeds <FROM..UNTIL>' but none was supplied",
    ),
    (
        "run --json --seeds 0..1",
        "a value is required for '--json <FILE>' but none was supplied",
    ),
    (
        "run --seeds 5",
        "invalid value '5' for '--seeds <FROM..UNTIL>': write it as 0..1000",
    ),
    (
        "run --seeds a..1",
        "invalid value 'a..1' for '--seeds <FROM..UNTIL>': \"a\": invalid digit found in string",
    ),
    (
        "run --seeds 0..1 --seeds 1..2",
        "the argument '--seeds <FROM..UNTIL>' cannot be used multiple times",
    ),
    ("run --sedes 0..1", "unexpected argument '--sedes' found"),
    ("run --seeds 0..1 x", "unexpected argument 'x' found"),
    ("run -x", "unexpected argument '-x' found"),
    (
        "replay --trace",
        "the following required arguments were not provided:",
    ),
    (
        "replay --seed x",
        "invalid value 'x' for '--seed <SEED>': invalid digit found in string",
    ),
    (
        "replay --seed 1 --trace=yes",
        "unexpected value 'yes' for '--trace' found; no more were expected",
    ),
    (
        "replay --seed 1 --far-away --far-away",
        "the argument '--far-away' cannot be used multiple times",
    ),
    (
        "replay --seed 1 --faults 1,a",
        "invalid value '1,a' for '--faults <N,..>': \"1,a\": invalid digit found in string",
    ),
    (
        "replay --seed 1 --nodes 99999999999999999999",
        "invalid value '99999999999999999999' for '--nodes <N>': number too large to fit in target type",
    ),
    (
        "exhaustive --large=1",
        "unexpected value '1' for '--large' found; no more were expected",
    ),
    (
        "planted --seeds -1",
        "a value is required for '--seeds <SEEDS>' but none was supplied",
    ),
];

#[test]
fn what_is_wrong_is_named_with_its_value() {
    for (line, expected) in WRONG {
        let Err(Stop::Wrong(text)) = parsed(line) else {
            panic!("{line}: {:?}", parsed(line));
        };
        assert_eq!(
            text.lines().next(),
            Some(&*format!("error: {expected}")),
            "{line}"
        );
        assert!(
            text.ends_with("\n\nFor more information, try '--help'.\n"),
            "{line}"
        );
    }
}

#[test]
fn an_unknown_name_is_answered_with_all_names() {
    for (line, names) in [
        ("planted --bug Nope", format!("{:?}", Bug::ALL)),
        (
            "replay --seed 1 --without Killed,Nope",
            format!("{:?}", Fault::ALL),
        ),
    ] {
        let Err(Stop::Wrong(text)) = parsed(line) else {
            panic!("{line}: {:?}", parsed(line));
        };
        assert!(text.contains("'Nope'") && text.contains(&names), "{text}");
    }
}

#[test]
fn help_names_every_command_and_every_option() {
    let told = |line: &str| match parsed(line) {
        Err(Stop::Told(text)) => text,
        other => panic!("{line}: {other:?}"),
    };
    for line in ["-h", "--help", "help"] {
        let help = told(line);
        for command in syntax::COMMANDS {
            let entry = format!("\n  {} ", command.name);
            assert!(help.contains(&entry), "{line}: {help}");
        }
    }
    for command in syntax::COMMANDS {
        let name = command.name;
        for line in [
            format!("{name} -h"),
            format!("{name} --help"),
            format!("help {name}"),
        ] {
            let help = told(&line);
            let usage = format!("\n\nUsage: whereabouts-sim {name} [OPTIONS]");
            assert!(help.contains(&usage), "{line}: {help}");
            let has = |flag: &Flag| help.contains(&flag.shown()) && help.contains(flag.about);
            assert!(command.flags.iter().all(has), "{line}: {help}");
        }
    }
    assert_eq!(
        told("--version"),
        format!("whereabouts-sim {}\n", env!("CARGO_PKG_VERSION"))
    );
    let Err(Stop::Wrong(short)) = parsed("") else {
        panic!("no command is no answer");
    };
    assert_eq!(short, told("-h"));
}
