use super::*;

fn shown(content: &str, format: Format) -> Vec<(BlockKind, String)> {
    let document = read(content, format).unwrap();
    document.blocks.iter().map(|block| (block.kind, document.text[block.range.clone()].to_owned())).collect()
}

fn texts(content: &str, format: Format) -> Vec<String> {
    shown(content, format).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn markdown_becomes_what_a_reader_sees() {
    let content = "# Sizes\n\nSee **our** [chart](https://x.example/chart),\nplease.\n\n- small\n- big\n  1. huge\n\n\
                   | a | b |\n|---|---|\n| 1 | 2 |\n\n```\nlet x;\n  y\n```\n\n<script>alert(1)</script>\n<p>raw</p>\n";
    assert_eq!(
        shown(content, Format::Markdown),
        [
            (BlockKind::Heading(1), "Sizes"),
            (BlockKind::Paragraph, "See our chart, please."),
            (BlockKind::ListItem, "- small"),
            (BlockKind::ListItem, "- big"),
            (BlockKind::ListItem, "  1. huge"),
            (BlockKind::TableRow, "a | b"),
            (BlockKind::TableRow, "1 | 2"),
            (BlockKind::Code, "let x;\n  y"),
            (BlockKind::Paragraph, "raw"),
        ]
        .map(|(kind, text)| (kind, text.to_owned()))
    );
}

#[test]
fn html_becomes_what_a_reader_sees() {
    let content = "<html><head><title>t</title><style>p{}</style></head><body><nav>Home</nav><h2>Pay\n later</h2>\
                   <p>You <b>can</b><br>wait.<p>Unclosed<ol start=3><li>x<li><p>y</p></ol>\
                   <table><tr><th>a<th><p>b</p><tr><td>1<td>2</table><pre>  k\n   v</pre><div hidden>no</div>\
                   <script>if (a < b) {}</script>tail</body>";
    assert_eq!(
        shown(content, Format::Html),
        [
            (BlockKind::Heading(2), "Pay later"),
            (BlockKind::Paragraph, "You can\nwait."),
            (BlockKind::Paragraph, "Unclosed"),
            (BlockKind::ListItem, "3. x"),
            (BlockKind::ListItem, "4. y"),
            (BlockKind::TableRow, "a | b"),
            (BlockKind::TableRow, "1 | 2"),
            (BlockKind::Code, "  k\n   v"),
            (BlockKind::Paragraph, "tail"),
        ]
        .map(|(kind, text)| (kind, text.to_owned()))
    );
}

#[test]
fn plain_text_is_kept_to_the_character() {
    let content = "\r\n One\r\ntwo \r\n\r\n\t\r\nthree";
    let document = read(content, Format::Text).unwrap();
    assert_eq!(document.text, content);
    assert_eq!(texts(content, Format::Text), [" One\r\ntwo", "three"]);
}

#[test]
fn front_matter_is_not_read_out() {
    assert_eq!(texts("---\ntitle: x\n---\n\nText.", Format::Markdown), ["Text."]);
}

#[test]
fn nul_is_refused_in_every_format() {
    for format in [Format::Markdown, Format::Html, Format::Text] {
        assert_eq!(read("a\0b", format), Err(MarkupError::Nul));
    }
}

#[test]
fn what_nests_too_deeply_is_refused() {
    for bomb in [
        "<div>".repeat(200_000),
        format!("<svg>{}", "<tr>".repeat(100_000)),
        (0..400).map(|n| format!("<div><b a={n}></div>")).collect(),
        // Not deep, but each paragraph opens all of them again.
        format!(
            "<p>{}{}",
            (0..200).map(|n| format!("<b a={n}>")).collect::<String>(),
            "<p>x".repeat(100_000)
        ),
    ] {
        assert_eq!(read(&bomb, Format::Html).err(), Some(MarkupError::TooDeep), "{:.30}", bomb);
        let in_markdown = read(&bomb, Format::Markdown).map_or(0, |document| document.text.len());
        assert!(in_markdown <= bomb.len(), "{:.30}", bomb);
    }
    assert_eq!(read(&">".repeat(100_000), Format::Markdown), Err(MarkupError::TooDeep));
}

#[test]
fn what_people_nest_is_taken() {
    let deep = format!("{}x{}", "<div>".repeat(250), "</div>".repeat(250));
    assert_eq!(texts(&deep, Format::Html), ["x"]);
    assert_eq!(texts(&"<p>x".repeat(1000), Format::Html).len(), 1000);
    assert_eq!(texts(&format!("{}x", "> ".repeat(200)), Format::Markdown), ["x"]);
}
