"""What quarterly reports tell: one event that no other has, and sentences that could stand in any."""

# What happened in one quarter of one company: the sentence, and the question that only its words tie to it.
EVENTS = (
    (
        "A fire in the varnishing hall at {town} on a Sunday night destroyed stock worth {value}; "
        "nobody was hurt.",
        "What was the stock worth that burnt in the varnishing hall?",
    ),
    (
        "The sale of the disused railway siding at {town} brought {value}, which is shown as other income.",
        "How much did the disused railway siding fetch?",
    ),
    (
        "A ransomware attack stopped invoicing for nine days; outside experts were paid {value} to "
        "restore it.",
        "What were outside experts paid after the ransomware attack?",
    ),
    (
        "The works council of {town} and management agreed on a one-off inflation bonus of {value} in all.",
        "How much did the inflation bonus agreed with the works council come to?",
    ),
    (
        "Flooding of the river warehouse near {town} led to an insurance payment of {value}.",
        "What did the insurance pay for the flooded river warehouse?",
    ),
    (
        "A recall of children's lamps with loose screws was charged to the quarter at {value}.",
        "What did recalling the children's lamps cost?",
    ),
    (
        "The new test track for driverless forklifts in {town} was opened; it cost {value}.",
        "How much was spent on the test track for driverless forklifts?",
    ),
    (
        "A dispute with the customs office over the classification of glass beads ended with a refund "
        "of {value}.",
        "What refund came out of the customs dispute about glass beads?",
    ),
    (
        "The canteen building at {town} was found to contain asbestos, and {value} was set aside for "
        "its removal.",
        "How much was set aside for removing asbestos from the canteen?",
    ),
    (
        "A hailstorm broke the greenhouses of the research farm; repairs came to {value}.",
        "What did repairing the greenhouses after the hailstorm cost?",
    ),
    (
        "The company bought the patents of a bankrupt maker of tidal turbines for {value}.",
        "For how much were the patents of the tidal turbine maker bought?",
    ),
    (
        "The share in a joint venture for recycled carpets was written down by {value}.",
        "By how much was the stake in the recycled carpets venture written down?",
    ),
    (
        "A strike of harbour pilots held up two ships for three weeks and cost about {value} in penalties.",
        "What penalties did the harbour pilots' strike cause?",
    ),
    (
        "A grant of {value} was received for the hydrogen kiln at {town}.",
        "How large was the grant for the hydrogen kiln?",
    ),
    (
        "A former agent in the Baltic states was awarded {value} by an arbitration court.",
        "What did the arbitration court award the former agent in the Baltic states?",
    ),
    (
        "The sponsorship of the handball league was ended early against a payment of {value}.",
        "What was paid to end the sponsorship of the handball league?",
    ),
)
TEXTS = (
    "The period was marked by cautious customers, who ordered later and in smaller lots than a year ago.",
    "Costs of energy eased, whereas wages rose in line with the agreements reached in the past year.",
    "Management continues to expect that the measures taken will bear fruit in the course of the year.",
    "Competition remained keen in the lower price ranges, less so where service is part of the offer.",
    "The group has no exposure to individual customers that would endanger it as a whole.",
    "Freight rates moved within a narrow range and had no notable effect on margins.",
    "The integration of the companies acquired in earlier years has been completed.",
    "No events of importance occurred between the end of the quarter and the date of this report.",
    "Comparisons refer to the same quarter of the year before unless another period is named.",
    "The seasonal pattern of the business means that one quarter says little about the whole year.",
    "Working capital was again the subject of a programme that involves all units.",
    "Prices of raw materials were passed on to customers with the usual delay.",
    "Inventories were reviewed for items that move slowly, and the usual deductions were made.",
    "Trade receivables are shown after allowances that follow experience with each group of customers.",
    "Intangible assets consist for the most part of goodwill, which is tested once a year.",
    "Bank loans are agreed with several lenders; all covenants were kept.",
    "Pension provisions follow the calculations of an independent actuary and change with interest rates.",
    "Selling expenses include commissions and the cost of fairs, which fall into spring and autumn.",
    "Research and development was directed at existing lines; nothing was capitalised.",
    "Income tax is computed with the rate that is expected for the year as a whole.",
    "Cash flow from operations is influenced by the dates on which large customers pay.",
    "Segment results contain charges for central services, distributed by headcount.",
    "Shareholders' equity changed by the result of the period and by differences from currency translation.",
    "Depreciation follows the straight-line method over the useful lives stated in the annual report.",
    "The same accounting policies were applied as in the last annual financial statements.",
    "Estimates are needed for provisions and for the value of inventories; actual amounts may differ.",
    "Companies are consolidated from the day on which control passes to the group.",
    "Transactions between segments are made at prices that third parties would agree on.",
    "Interest paid relates to bank loans and to leases of vehicles and buildings.",
    "Orders on hand cover the capacity of the plants for several months.",
    "Administrative expenses were held in check, although insurance became dearer.",
    "Operating profit is the figure by which management judges the segments.",
    "Foreign subsidiaries draw up their accounts in the currency of the country in which they work.",
    "Equipment on order that has not been delivered is not shown in the balance sheet.",
)
