//! Several files in their order, equal rows among them, and files that are damaged or unfit.

use super::*;

#[test]
fn equal_rows_are_told_apart_and_keep_their_ids() {
    let (a, b) = ("t,n,v\n0,a,b\n0,a,b\n0,ab,\n0,a,b,cut\n0,a,b,cut\n", "t,n,v\n0,a,b\n0,a,c\n");
    let files = Files::new(MAP, &[("a.csv", a.as_bytes()), ("b.csv.gz", &gzip(b.as_bytes()))]);
    let ids = || {
        let batch = files.open().unwrap().next_batch().unwrap().unwrap();
        let ids = batch.events.column_by_name("event_id").unwrap().as_string::<i32>();
        let rejected = batch.rejected.iter().map(|(_, rejection)| rejection.id.clone());
        ids.iter().map(|id| id.unwrap().to_owned()).chain(rejected).collect::<Vec<_>>()
    };
    let first = ids();
    assert_eq!(first, ids());
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), first.len(), "{first:?}");
    assert_eq!(first[1], format!("{}-2", first[0]));
    assert_eq!(first[3], format!("{}-3", first[0]));
    // The site, 4 bytes; the number of values and their ends, 4 bytes each; the values.
    let row = b"\0\0\0\x07default\0\0\0\x13\0\0\0\x03\0\0\0\x01\0\0\0\x02\0\0\0\x030ab";
    let digest = <sha2::Sha256 as sha2::Digest>::digest(row);
    assert_eq!(first[0], hex::encode(&digest[..16]));
    let numbers: Vec<String> = files.read().iter().map(|line| line[..1].to_owned()).collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_batch_has_8192_rows_and_files_follow_each_other() {
    let csv = |from: usize, rows: usize| {
        let lines = (from..from + rows)
            .map(|row| if row % 10 == 0 { "x\n".into() } else { format!("{row},a,b\n") });
        format!("t,n,v\n{}", lines.collect::<String>())
    };
    let files = Files::new(
        MAP,
        &[
            ("a.csv", csv(0, 10_000).as_bytes()),
            ("b.csv", b"t,v,n\n"),
            ("c.csv", csv(10_000, 10_000).as_bytes()),
        ],
    );
    let mut sources = files.open().unwrap();
    let (mut sizes, mut next) = (Vec::new(), 0);
    while let Some(batch) = sources.next_batch().unwrap() {
        let offsets = batch.events.column_by_name("log_offset").unwrap();
        let offsets = offsets.as_primitive::<Int64Type>();
        let times = batch.events.column_by_name("event_time").unwrap();
        let times = times.as_primitive::<TimestampMicrosecondType>();
        assert!(
            offsets.iter().zip(times).all(|(row, time)| time == row.map(|row| row * 1_000_000))
        );
        let mut numbers: Vec<u64> = offsets.values().iter().map(|row| *row as u64).collect();
        numbers.extend(batch.rejected.iter().map(|(row, _)| row));
        numbers.sort();
        assert_eq!(numbers, (next..next + numbers.len() as u64).collect::<Vec<_>>());
        next += numbers.len() as u64;
        sizes.push(numbers.len());
    }
    assert_eq!(sizes, [8_192, 8_192, 20_000 - 2 * 8_192]);
}

#[test]
fn gzip_is_known_by_its_bytes() {
    let (a, b) = (gzip(b"t,n,v\n0,a,b\n0,c"), gzip(b",d\n"));
    let expected = [
        row(0, &format!("visitor_id=b event_name=a {AT_0}")),
        row(1, &format!("visitor_id=d event_name=c {AT_0}")),
    ];
    let members = [a, b].concat();
    check(MAP, &[("a.csv", &members)], &[&expected[0], &expected[1]]);
    check(MAP, &[("a.csv.gz", b"t,n,v\n0,a,b\n0,c,d\n")], &[&expected[0], &expected[1]]);
}

#[test]
fn a_damaged_file_ends_the_load() {
    let rows: String = (0..50_000).map(|row| format!("{row},event,{row}\n")).collect();
    let packed = gzip(format!("t,n,v\n{rows}").as_bytes());
    let error = Files::new(MAP, &[("a.csv.gz", &packed[..packed.len() / 2])]).error();
    let rest = error
        .strip_prefix("a.csv.gz: its gzip data is cut, after ")
        .unwrap_or_else(|| panic!("{error}"));
    let (count, rest) = rest.split_once(' ').unwrap();
    assert_eq!(rest, "rows; nothing was loaded: get the file again");
    assert!((1_000..50_000).contains(&count.parse().unwrap()), "{error}");
    let mut damaged = packed.clone();
    let middle = packed.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    let error = Files::new(MAP, &[("a.csv.gz", &damaged)]).error();
    assert!(error.starts_with("a.csv.gz: its gzip data is damaged ("), "{error}");
    let lines = gzip(b"{\"t\":0,\"n\":\"a\"}\n");
    refuse(
        MAP,
        &[("a.jsonl.gz", &lines[..lines.len() - 4])],
        "a.jsonl.gz: its gzip data is cut, after 1 row; nothing was loaded: get the file again",
    );
}

#[test]
fn an_unfit_file_ends_the_load_before_it_begins() {
    let good: (&str, &[u8]) = ("a.csv", b"t,n,v\n0,a,b\n");
    let format = "end it in .csv, .jsonl, .ndjson (each also with .gz) or .parquet, or set `format` in the map";
    refuse(
        MAP,
        &[good, ("b.tsv", b"")],
        &format!("b.tsv: its name does not tell its format: {format}"),
    );
    refuse(MAP, &[good, ("b.csv", b"")], "b.csv: has no header: is it empty, or no CSV?");
    refuse(
        MAP,
        &[good, ("b.csv", b"t,n\n")],
        "b.csv: has no column `v`, from which the map fills `visitor_id`: known are `t`, `n`",
    );
    refuse(
        &format!("{MAP}user_id = 'user'\nsession_id = 'u'\n")
            .replace("session_id", "client_session_id"),
        &[("b.csv", b"t;n;v\n")],
        "b.csv: its header has one field, `t;n;v`, whose 3 parts are separated by `;`: save the file with commas",
    );
    refuse(
        &format!("{MAP}user_id = 'user'\n"),
        &[("b.csv", b"t,v\n")],
        "b.csv: has no column `n`, from which the map fills `event_name`: known are `t`, `v`; it has no column `user`, from which the map fills `user_id`: known are `t`, `v`",
    );
    refuse(MAP, &[good, ("b.csv", b"t,n,v,v\n")], "b.csv: has two columns `v`: rename one of them");
    refuse(
        MAP,
        &[good, ("b.csv", b"t,n,v,x,x\n")],
        "b.csv: has two columns `x`: rename one of them",
    );
    refuse(MAP, &[("b.csv", b"\xff\xfet\0,\0")], "b.csv: is UTF-16: save it as UTF-8");
    refuse(MAP, &[("b.csv", b"t,n,v,\xe9\n")], "b.csv: is not UTF-8: save it as UTF-8");
    let mut files = Files::new(MAP, &[good]);
    files.named.push(
        files
            .folder
            .path()
            .join("../")
            .join(files.folder.path().file_name().unwrap())
            .join("a.csv"),
    );
    assert!(files.error().ends_with("is named twice: its rows would count twice"));
    files.named[1] = files.folder.path().join("none.csv");
    assert_eq!(
        files.error(),
        "none.csv: cannot be opened: No such file or directory (os error 2): check the path"
    );
    files.named[1] = files.folder.path().join("");
    assert!(files.error().ends_with("is a folder: name the files in it"));
    let error = Files::new(MAP, &[("a.parquet", b"t,n,v\n0,a,b\n")]).error();
    assert!(error.starts_with("a.parquet: is no whole Parquet file ("), "{error}");
    assert!(error.ends_with("): get it again, unpacked"), "{error}");
}

#[test]
fn dropped_columns_may_share_a_name() {
    let expected = row(0, &format!("visitor_id=b event_name=a {AT_0}"));
    check(&format!("rest = 'drop'\n{MAP}"), &[("a.csv", b"t,n,v,x,x\n0,a,b,1,2\n")], &[&expected]);
}
