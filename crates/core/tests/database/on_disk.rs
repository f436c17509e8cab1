//! What is on disk and on the wire and may never change: ids, placements, and the genesis change of every document.

use headwater_core::id::Placement;
use headwater_core::{DatabaseId, DocumentId, Header, Partition};
use std::fmt::Write as _;

const ID: DatabaseId = DatabaseId::from_bytes([
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
]);

fn partition() -> Partition {
    Partition {
        collection: "airports ✈".into(),
        count: 4,
        index: 3,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[test]
fn ids_are_written_in_bs58check_and_derived_from_the_partition() {
    assert_eq!(ID.to_string(), "148vjpuxYXixb8DcbaWyeGv2q3u");
    assert_eq!("148vjpuxYXixb8DcbaWyeGv2q3u".parse(), Ok(ID));
    let document = partition().document(&ID);
    assert_eq!(document.to_string(), "2WsDctJAjU4BHX8a9YEba1BQb4Sc");
    for wrong in ["", "148vjpuxYXixb8DcbaWyeGv2q3v", "0", &"1".repeat(100)] {
        let error = wrong.parse::<DocumentId>().unwrap_err().to_string();
        assert!(error.contains("must be 16 bytes in bs58check"), "{error}");
    }
}

#[test]
fn keys_are_placed_by_their_hash() {
    let placed = |key: &str| {
        let placement = Placement::of(key);
        let partitions = [1, 4, 4096].map(|count| placement.partition(count));
        (placement.bucket(), partitions)
    };
    assert_eq!(placed("a"), (58, [0, 2, 3530]));
    assert_eq!(placed("ZRH"), (44, [0, 3, 1163]));
    assert_eq!(placed("München"), (26, [0, 0, 3852]));
    assert_eq!(placed("k 0"), (44, [0, 2, 3482]));
}

/// The bytes are held uncompressed: how DEFLATE packs them on their way may change, the change's hash may not.
#[test]
fn the_genesis_of_a_document_is_the_same_bytes_for_everyone() {
    let vectors = [
        (
            Header::Catalog(ID),
            "60b56ebde9fc550e25abe131947bc6bd661ebdb313895e029a6c8d693c4fe910",
            "856f4a8360b56ebd01ed020010000000000000000000000000000000000101000000080109020915800234014207560d571a\
         7003000106000001c00000000106010001c00008b87f096865616477617465720a636f6c6c656374696f6e05636f756e7408\
         646174616261736506666f726d617405696e646578046b696e64077265636f72647302303002303102303202303302303402\
         3035023036023037023038023039023061023062023063023064023065023066023130023131023132023133023134023135\
         0231360231370231380231390231610231620231630231640231650231660232300232310232320232330232340232350232\
         3602323702323802323902326102326202326302326402326502326602333002333102333202333302333402333502333602\
         3337023338023339023361023362023363023364023365023366487f000601c100007c000613870202137f76c10000000011\
         2233445566778899aabbccddeeff0100636174616c6f67c80000",
        ),
        (
            Header::Partition(ID, partition()),
            "6f34520ade19a23275a1eaf37d4735072dc571c7e67d60e709abaac3445817b1",
            "856f4a836f34520a01fd020010000000000000000000000000000000000101000000080109020915800234014207560f5728\
         7003000106000001c00000000106010001c00008b87f096865616477617465720a636f6c6c656374696f6e05636f756e7408\
         646174616261736506666f726d617405696e646578046b696e64077265636f72647302303002303102303202303302303402\
         3035023036023037023038023039023061023062023063023064023065023066023130023131023132023133023134023135\
         0231360231370231380231390231610231620231630231640231650231660232300232310232320232330232340232350232\
         3602323702323802323902326102326202326302326402326502326602333002333102333202333302333402333502333602\
         3337023338023339023361023362023363023364023365023366487f000601c100007c00c60113870202137f9601c1000061\
         6972706f72747320e29c880400112233445566778899aabbccddeeff0103706172746974696f6ec80000",
        ),
    ];
    for (header, hash, bytes) in vectors {
        let genesis = header.genesis().unwrap();
        assert_eq!(genesis.hash().to_string(), hash);
        assert_eq!(hex(genesis.raw_bytes()), bytes);
        assert_eq!(Header::read(&genesis), Some(header));
    }
}
