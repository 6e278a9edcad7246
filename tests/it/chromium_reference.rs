//! The reference in a real browser: a key is pasted, operations are tried, and nobody else is asked anything.

use serde_json::json;

use crate::harness::{Server, browser::Browser};

/// Types into a field as React hears it.
const TYPE: &str = "(field, text) => {
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set.call(field, text);
    field.dispatchEvent(new Event('input', { bubbles: true }));
}";

#[test]
fn an_operation_that_is_tried_with_a_pasted_key_is_answered_and_no_other_host_is_asked() {
    let server = Server::start();
    let org = server.organization();
    let browser = Browser::start();
    let own = format!("http://{}", server.address());
    let page = browser.visit(&format!("{own}/docs"));

    let click = |selector: &str| {
        page.until(&format!("!!document.querySelector(`{selector}`)"));
        page.run(&format!("document.querySelector(`{selector}`).click()"));
    };
    click(".btn.authorize");
    let form = "[...document.querySelectorAll('.auth-container')].find((one) => one.innerText.includes('secretKey'))";
    page.until(&format!("!!{form}"));
    page.run(&format!("({TYPE})({form}.querySelector('input'), '{}')", org.primary_key));
    page.run(&format!("{form}.querySelector('button[type=submit]').click()"));
    page.until(&format!("{form}.innerText.includes('Authorized')"));
    click(".modal-ux .close-modal");

    // Reading, and writing: for that the browser names the page's origin.
    click("#operations-tag-Conversations button, #operations-tag-Conversations");
    // The page asks for what is documented first, which of a start is the stream of its answer.
    for operation in ["listConversations", "startConversation"] {
        let at = format!("#operations-Conversations-{operation}");
        click(&format!("{at} .opblock-summary-control"));
        click(&format!("{at} .try-out__btn"));
        click(&format!("{at} .execute"));
        let status = format!(
            "document.querySelector('{at} .live-responses-table .response .response-col_status')?.innerText"
        );
        let status = page.until(&status);
        assert_eq!(status.as_str().unwrap().split_whitespace().next(), Some("200"), "{operation}");
    }
    let talks = org.get("/v1/conversations").status(200);
    assert_eq!(talks["data"][0]["customer"]["name"], json!("Ada"), "as in the example");

    let asked = page.asked();
    assert!(asked.iter().any(|url| *url == format!("{own}/v1/conversations")), "{asked:?}");
    let elsewhere: Vec<_> = asked
        .iter()
        .filter(|url| !url.starts_with(&format!("{own}/")) && !url.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    // Nor was anything refused that the page needs.
    assert_eq!(page.console(), "");
}
