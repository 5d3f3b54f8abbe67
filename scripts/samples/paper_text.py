"""The words of the coastal erosion paper; numbers in braces come from `samples.paper_data.quoted`."""

from __future__ import annotations

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "1. Introduction",
        (
            "Planners ask a simple question of those who study coasts: where will the edge be in fifty "
            "years? The usual answer multiplies a mean rate by fifty. That is reasonable where retreat is "
            "steady, and misleading where a few storms do most of the work [1, 2]. Long series that could "
            "show the difference are rare, because surveys are usually begun after damage and ended when "
            "money runs out.",
            "The Marran coast is an exception. Six transects have been surveyed every autumn since 1995 by "
            "the same small group and, until 2011, with the same theodolite. The coast is eighteen "
            "kilometres long and its materials range from hard sandstone to dunes, so that shores of very "
            "different strength meet the same waves. We use the series to ask how much of the variation "
            "between years is explained by a single number, the hours of high waves, and whether retreat is "
            "becoming faster.",
        ),
    ),
    (
        "2. Study area",
        (
            "The coast faces east to Marran Sound (Figure 1). Tides are moderate, with a mean spring range "
            "of 4.1 m. The largest waves come from the north-east between November and March. Kittle Head "
            "and Marran Point are headlands of sandstone and mudstone; between them lie two bays cut in "
            "glacial till. The Saltings is a spit of dune sand that joined the land in the nineteenth "
            "century. At Cullen, a concrete wall built in 1962 protects the road to Aldersea.",
            "The till is a stiff clay with stones, laid down by ice and cut by the sea into cliffs of nine "
            "to fourteen metres. It fails in two ways. Waves undercut the foot until a slice falls, usually "
            "within days of a storm. Or water from the fields soaks the clay, and a larger mass slides on a "
            "curved surface, often in late winter and in calm weather. The second kind is rarer, and it "
            "moves more ground.",
            "People have lived with the moving edge for long. The parish map of 1846 shows a chapel at "
            "North Bay some seventy metres seaward of the present cliff, and the coast road has been moved "
            "inland twice, in 1911 and in 1954. Today thirty-one houses stand within fifty metres of the "
            "edge, most of them at South Bay.",
        ),
    ),
    (
        "3. Data and methods",
        (
            "Each autumn between 20 September and 20 October the edge of the cliff or the foot of the "
            "foredune was measured at eleven points, five metres apart, around every transect. We use the "
            "mean of the eleven. A total station replaced the theodolite in 2012; both were used side by "
            "side for two years and differed by less than 3 cm. The error of a yearly value is about 5 cm "
            "on cliffs and 15 cm on dunes.",
            "Waves were recorded by a buoy at 22 m depth, 6 km off North Bay. Gaps, together 4.3 per cent "
            "of all hours, were filled from a wind model. We count the hours from one survey to the next "
            "with a significant wave height above three metres and call them storm hours. Their mean is "
            "{typical} a year; the largest value, {hours}, was reached in 2014.",
            "The eleven points of a transect are marked by steel pins driven at least thirty metres behind "
            "the edge. When the edge comes within ten metres of a pin, a new one is set further inland and "
            "both are measured in the same autumn. This has happened nine times. Survey books, photographs "
            "and the list of pins are kept at the university and can be seen on request.",
            "We correlate yearly retreat with storm hours of the same year and test trends by the method of "
            "ranks [3]. No value was left out.",
        ),
    ),
    (
        "4. Results",
        (
            "Table 1 sums up the series. Mean rates differ by more than a factor of ten between rock and "
            "sand. The soft transects have lost {m2_total} m at M2, {m4_total} m at M4 and {m6_total} m at "
            "M6 since 1995 (Figure 2). On all three the line of cumulative retreat is a staircase: long "
            "gentle steps, and a few years in which the edge moved twice as far as usual. The appendix "
            "gives every value.",
            "Storm hours follow these steps closely where the shore is soft. The correlation is highest on "
            "the dunes ({m4_linked}, Figure 3). On the till cliffs it is lower, since a cliff that has "
            "slumped is protected by its own debris for a year or two. On sandstone, blocks fall when "
            "joints open, which has more to do with frost and rain. Behind the sea wall the correlation is "
            "{m5_linked}, which is no more than chance.",
            "In 2014 three storms within nineteen days met spring tides. That year alone accounts for "
            "{share} per cent of the retreat on M2, M4 and M6 in twenty-eight years, more than twice its "
            "share of the time. Table 2 lists the five stormiest years. They are about one sixth of the "
            "series and account for {five_share} per cent of the retreat on the soft transects. The order "
            "of the years is not the same at every place: at M2 a slide in the year after a storm may be "
            "larger than that of the storm itself.",
            "On mudstone the picture is mixed. M3 loses thin plates of rock in most winters and now and "
            "then a block of some cubic metres. The plates follow the storms; the blocks do not. With "
            "eleven points in fifty metres a single block can raise the mean of a year by a tenth of a "
            "metre.",
            "None of the six series has a trend that differs from zero at the five per cent level. What has "
            "changed is recovery. Before 2010 the foredune at M4 regained on average a third of a stormy "
            "year's loss of height within two years; since then it has regained less than a tenth. Beach "
            "levels in front of both till cliffs are 0.4 m lower than in 1995.",
        ),
    ),
    (
        "5. Discussion",
        (
            "A mean rate hides the staircase. For a house twelve metres from the edge at South Bay the mean "
            "suggests a decade of safety; the winter of 2014 took {m6_stormy} m in one step. We therefore "
            "suggest that setback lines on soft shores be drawn from the largest loss in any five years and "
            "not from the mean alone.",
            "The lower beaches may be the first sign of faster retreat to come, as they let smaller waves "
            "reach the foot of the cliff [4]. They may also be the result of the wall at Cullen, which "
            "keeps sediment from moving south. Our transects cannot tell the two apart. A survey of the sea "
            "floor, planned for 2026, could.",
            "Our rates agree with the little that is known from elsewhere. Dunmore and Hsu [1] found on "
            "three coasts of soft rock that between a tenth and a fifth of the years did half of the work. "
            "On the Marran coast the staircase is less steep, perhaps because Marran Sound is sheltered "
            "from the long swell of the open ocean. The slow recovery of the dunes has been described in "
            "detail for the Saltings [6]; we add that it can be seen in the survey of the edge as well as "
            "in the height of the foredune.",
            "A practical remark on effort. The whole survey takes two people nine days each autumn. Drones "
            "would be faster and would cover the ground between the transects, and since 2021 we have flown "
            "both till cliffs as a trial. But the strength of the series lies in having been made in one "
            "way for a long time [5], and we advise those who plan a change of method to keep the old one "
            "going beside it for some years.",
            "Two limits should be kept in mind. Six transects are few, and they were chosen in 1995 for "
            "easy access, not at random. And storm hours leave out the direction of waves, which matters on "
            "a coast with headlands: Marran Point shelters the Saltings from the south-east.",
        ),
    ),
    (
        "6. Conclusions",
        (
            "Hours of high waves are a cheap and useful guide to yearly retreat on soft shores, and a poor "
            "one on rock. Twenty-eight years show no lasting acceleration, but slower recovery and lower "
            "beaches. Planning by mean rates understates the risk of single winters.",
            "We recommend three things to those who manage this coast: to publish the largest five-year "
            "loss beside the mean in every coastal plan; to measure beach levels twice a year, in March and "
            "in September; and to survey the sea floor off Cullen before any further length of wall is "
            "built.",
        ),
    ),
    (
        "Acknowledgements",
        (
            "We thank the harbour master of Aldersea for the boat, Harborlight Instruments for the loan of "
            "two TideSense sensors, and forty-one students who carried the staff. The survey was paid for "
            "by the Aldersea Drainage Board until 2008 and by the university since.",
        ),
    ),
)

REFERENCES = (
    "[1] Dunmore, A. and Hsu, R. (2009). Staircases in the retreat of soft cliffs. <i>Journal of Invented "
    "Shores</i> 3, 112\u2013129.",
    "[2] Valtiera, C. (2013). Mean rates and single winters. <i>Annals of Imaginary Geomorphology</i> 28, "
    "7\u201322.",
    "[3] Oyelaran, T. (2001). Rank tests for short environmental series. <i>Notes in Fictional "
    "Statistics</i> 5, 301\u2013318.",
    "[4] Brandvold, K., Imai, S. and Reyes, P. (2018). Beach level and cliff foot erosion: a flume study. "
    "<i>Journal of Invented Shores</i> 8, 55\u201371.",
    "[5] Whitelaw, P. (1996). <i>The Marran survey: first report</i>. University of Aldersea, 34 pp.",
    "[6] Ferreira-Lund, S. (2020). Dunes that do not come back. <i>Annals of Imaginary Geomorphology</i> "
    "35, 140\u2013158.",
)
