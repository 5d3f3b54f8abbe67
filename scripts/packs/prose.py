"""Paragraphs between the tables: sentences without figures, so that no question is answered there."""

from __future__ import annotations

from packs.names import Kit

GENERAL = (
    "The figures in this document were drawn up by {who} and have been checked by two members of staff.",
    "Differences in the last digit are due to rounding.",
    "Where a method has changed, earlier periods have been restated so that they can be compared.",
    "Readers who need the underlying records may ask for them in writing.",
    "This part describes how the figures came about; the tables follow.",
    "Any use of the material must name the source.",
    "Missing values are marked; they were not estimated.",
    "Comparisons with others are difficult because definitions differ.",
    "Small items have been grouped under a common heading to keep the list readable.",
    "It was agreed to keep the present layout of the tables.",
    "A review of the classification is planned.",
    "Questions and corrections should be sent to the office of {who}.",
    "The layout follows the example of earlier editions.",
)
BY_TRADE = {
    "money": (
        "The period under review was marked by late deliveries in spring and a calm autumn.",
        "Demand was steady in most lines, and weaker where customers had built up stocks before.",
        "Management expects no change of policy before the next report.",
        "Several sites were closed for repairs, which explains part of the movement.",
        "No single customer or supplier was of decisive weight.",
        "Costs of energy were again a burden, although less than feared.",
        "A separate note on risks is kept by the secretary of the board.",
        "Contracts that run for several periods are shown in the period in which the work was done.",
        "The auditors raised no objection.",
        "Prices are without tax unless the heading says otherwise.",
        "Payment terms were not changed, and overdue accounts are followed up by the same team as before.",
        "Leases are treated as in the last accounts.",
    ),
    "science": (
        "Measurements were repeated when two readings differed by more than the tolerance of the instrument.",
        "Samples were kept in the dark and brought to room temperature before use.",
        "The equipment had been serviced shortly before the campaign began.",
        "Weather was cool and changeable throughout, with fog on many mornings.",
        "Observations were entered by hand and copied into the register on the same day.",
        "The authors thank the field staff for their patience.",
        "The instruments are read every morning by the person on duty.",
        "Outliers were looked at one by one and none was removed without a reason in the record.",
        "The procedure was agreed with the other groups before the first run.",
        "Blind duplicates were sent to a second laboratory.",
    ),
    "lists": (
        "The committee discussed the draft at length and accepted it with minor corrections.",
        "As in other years, the summer months brought more visitors and longer opening hours.",
        "The new store went into service without interruption.",
        "Training of the crews was continued, with an emphasis on safety at height.",
        "Changes at short notice are put up on the board beside the entrance.",
        "Please check the list and report errors to the office.",
        "Older editions of this list are no longer valid.",
        "Entries are in the order in which they were made.",
    ),
    "letters": (
        "We are sorry that it took us some time to answer.",
        "Our staff will gladly help you with any further question.",
        "You will find our general terms on the back of this sheet.",
        "Please quote our reference whenever you write to us.",
        "We thank you for the trust that you place in us.",
        "A copy of this page is for your own files.",
        "Goods remain our property until they have been paid for.",
        "Complaints can only be considered if they reach us without delay.",
        "We look forward to working with you again.",
        "Should anything be unclear, call us during office hours.",
    ),
    "rules": (
        "Members keep the rooms clean and report damage at once.",
        "The office may ask for proof of the particulars given above.",
        "Changes of address must be reported without being asked.",
        "Personal data are kept only as long as they are needed for the purpose named here.",
        "Permission can be withdrawn if false statements were made.",
        "Fees that have been paid are not refunded when the permission ends early.",
        "The rules of the house are put up in the entrance and form part of this agreement.",
        "Children are admitted together with an adult.",
        "A lost card is replaced against a fee.",
        "Notice must be given in writing before the end of the period.",
        "Nobody may pass the permission on to another person.",
        "Disputes are first put before the committee.",
    ),
}
HEADS = (
    "Background",
    "Scope and method",
    "Remarks",
    "How the figures were obtained",
    "General remarks",
    "Review of the period",
    "Notes for the reader",
    "Outlook",
    "Basis of preparation",
    "Summary",
)


def paragraph(kit: Kit, who: str, sentences: int = 5, trade: str = "lists") -> str:
    """A paragraph of different sentences that suit a trade: a key of `BY_TRADE`."""
    if len(kit.sentences) < sentences:
        stock = BY_TRADE[trade] if trade in ("letters", "rules") else GENERAL + BY_TRADE[trade]
        kit.sentences = kit.rng.sample(stock, len(stock))
    chosen = [kit.sentences.pop() for _ in range(sentences)]
    return " ".join(chosen).replace("{who}", who)


def heading(kit: Kit) -> str:
    """A heading for it."""
    return kit.pick(HEADS)
