#[test]
fn real_one() {
    for path in std::env::var("PFNWATCH_KO").unwrap_or_default().split(' ') {
        println!("{path}: {:#x?}", super::read(std::fs::File::open(path).unwrap()));
    }
}
