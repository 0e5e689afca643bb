//! Where the map puts what a row holds.

use super::*;

#[test]
fn the_rest_goes_where_the_map_says() {
    let csv = b"t,n,v,user_id,color,\n0,a,b,u,red,z\n";
    let to = |rest: &str, expected: &str| {
        let map = format!("rest = '{rest}'\nsite = 'shop'\n{MAP}");
        let expected = format!("0 event_id=# site=shop visitor_id=b {expected}");
        check(&map, &[("a.csv", csv)], &[&expected]);
    };
    to("drop", &format!("event_name=a {AT_0} seq=0"));
    to(
        "properties",
        &format!(
            "event_name=a {AT_0} seq=0 properties={{\"user_id\":\"u\",\"color\":\"red\",\"column_6\":\"z\"}}"
        ),
    );
    to(
        "same_name",
        &format!(
            "user_id=u event_name=a {AT_0} seq=0 properties={{\"color\":\"red\",\"column_6\":\"z\"}}"
        ),
    );
    let lines =
        br#"{"t":0,"n":"a","v":"b","user_id":"u","site":"other","items":[{"item_id":1,"x":2}]}"#;
    check(
        &format!("rest = 'same_name'\nsite = 'shop'\n{MAP}"),
        &[("a.jsonl", lines)],
        &[&format!(
            "0 event_id=# site=shop visitor_id=b user_id=u event_name=a {AT_0} seq=0 items=[{{item_id: 1, item_name: , item_brand: , item_category: , item_variant: , price: , quantity: }}] properties={{\"site\":\"other\",\"items\":[{{\"item_id\":1,\"x\":2}}]}}"
        )],
    );
}

#[test]
fn values_constants_items_and_only() {
    let map = concat!(
        "time_format = 'unix_s'\n[columns]\ntimestamp = 't'\nevent_name = 'n'\nvalue = 'p'\n",
        "'items.price' = 'p'\n'items.item_id' = 'i'\nsite = 's'\n[constants]\ncurrency = 'EUR'\nx = 5\n",
        "[values.event_name]\nbuy = 'purchase'\n[only]\nvalue = ['purchase']\ncurrency = ['purchase']\n",
    );
    let item = |id: &str, price: &str| {
        format!(
            "items=[{{item_id: {id}, item_name: , item_brand: , item_category: , item_variant: , price: {price}, quantity: }}]"
        )
    };
    check(
        map,
        &[("a.csv", b"t,n,p,i,s\n0,buy,1.5,7,shop\n0,view, 2 ,8,\n0,view,,,\n")],
        &[
            &format!(
                "0 event_id=# site=shop event_name=purchase {AT_0} seq=0 x=5 {} value=1.5000 currency=EUR",
                item("7", "1.5000")
            ),
            &format!(
                "1 event_id=# site=default event_name=view {AT_0} seq=1 x=5 {}",
                item("8", "2.0000")
            ),
            &format!("2 event_id=# site=default event_name=view {AT_0} seq=2 x=5"),
        ],
    );
}

#[test]
fn lists_and_objects_may_stand_in_a_field() {
    let map = format!("{MAP}items = 'i'\nproperties = 'p'\n");
    let csv = concat!(
        "t,n,v,i,p,q\n",
        "0,a,b,\"[{\"\"item_id\"\":\"\"1\"\"}]\",\" {\"\"a\"\":1} \",z\n",
        "0,a,b,,{},\n",
        "0,a,b,\"[{},{\"\"price\"\":true}]\",,\n",
        "0,a,b,,[],\n",
        "0,a,b,,{x},\n",
    );
    let item = "items=[{item_id: 1, item_name: , item_brand: , item_category: , item_variant: , price: , quantity: }]";
    check(
        &map,
        &[("a.csv", csv.as_bytes())],
        &[
            &row(
                0,
                &format!(
                    "visitor_id=b event_name=a {AT_0} {item} properties={{\"a\":1,\"q\":\"z\"}}"
                ),
            ),
            &row(1, &format!("visitor_id=b event_name=a {AT_0}")),
            "2 default bad_type i[1].price: invalid type: boolean `true`, expected an amount of money, a number <0,a,b,\"[{},{\"\"price\"\":true}]\",,>",
            "3 default bad_type p: expected an object <0,a,b,,[],>",
            "4 default bad_json p: key must be a string at line 1 column 2 <0,a,b,,{x},>",
        ],
    );
    let lines = concat!(
        r#"{"t":0,"n":"a","v":"b","i":"[{\"item_id\":\"1\"}]","p":{"a":1},"q":null}"#,
        "\n",
        r#"{"t":0,"n":"a","v":"b","i":[{"item_id":"1"}],"p":null}"#,
        "\n",
    );
    check(
        &map,
        &[("a.jsonl", lines.as_bytes())],
        &[
            &row(
                0,
                &format!(
                    "visitor_id=b event_name=a {AT_0} {item} properties={{\"a\":1,\"q\":null}}"
                ),
            ),
            &row(1, &format!("visitor_id=b event_name=a {AT_0} {item}")),
        ],
    );
}
