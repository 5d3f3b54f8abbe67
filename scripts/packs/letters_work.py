"""Documents of the pack of letters that people have at work."""

from packs.letters_plan import Letter

WORK = (
    Letter(
        "handbook",
        "Quillfeather Logistics: staff handbook",
        (
            "# Working hours",
            "The standard week has {37.5 hours}. Core time is 10:00 to 15:00. Overtime is paid at 150 % "
            "on weekdays and {200 %} on Sundays.",
            "# Holiday",
            "Full-time staff receive {26 days} of paid leave a year. Up to {four unused days} may be "
            "carried over until 31 March.",
            "# Illness",
            "Tell your manager before {9:00} on the first day. A doctor's note is needed from {the fourth"
            " day}. The company pays full wages for {six weeks}.",
            "# Travel",
            "Second-class rail is the rule. Flights need the approval of {Ottoline Marsh}. Meals abroad "
            "are reimbursed up to 48 euros a day, hotels up to {140 euros} a night.",
            "# Working from home",
            "Up to {two days} a week once probation, which lasts {six months}, is over.",
            "# Equipment",
            "Laptops are replaced {every four years}. Loss or theft is reported to the service desk, "
            "extension {4417}.",
        ),
        (
            ("How much vacation do employees get?", "26 days"),
            ("What is paid for extra work on a Sunday?", "200 %"),
            ("When do I have to bring a medical certificate?", "the fourth day"),
            ("For how long do I get my salary when I am sick?", "six weeks"),
            ("Who has to agree if I want to fly?", "Ottoline Marsh"),
            ("How expensive may my hotel be?", "140 euros"),
            ("How long is the trial period?", "six months"),
            ("When do I get a new computer?", "every four years"),
            ("Which extension do I dial if my notebook was stolen?", "4417"),
        ),
        (("How many hours does one work in four weeks?", "150", "37.5 hours"),),
        (
            "Does the company offer dental insurance?",
            "How many parking spaces does the office have?",
            "When is the Christmas party?",
        ),
    ),
    Letter(
        "press-release",
        "Nordwind Turbines opens second blade factory",
        (
            "{Aarhus}, 9 June 2025. Nordwind Turbines today opened its second blade factory. The plant in"
            " Esbjerg cost {DKK 2.4 billion} and will employ {640 people} when it reaches full capacity "
            "in {early 2027}. It makes blades of up to {118 metres} for the company's new offshore "
            "turbine.",
            '"Esbjerg gives us a quay at the door," said chief executive {Solveig Damgaard}. "We save '
            '{eleven days} of transport for each set of blades."',
            "The first buyer is {Vestkyst Energi}, which has ordered {72 turbines} for the Horns Bank "
            "project. The shares rose {3.8 per cent} in Copenhagen. In 2024 the company had revenue of "
            "{DKK 31.7 billion}, after {DKK 28.9 billion} in the year before.",
        ),
        (
            ("Who is the boss of Nordwind?", "Solveig Damgaard"),
            ("How many jobs will there be in Esbjerg?", "640 people"),
            ("What did it cost to build the plant?", "DKK 2.4 billion"),
            ("Who was the first customer?", "Vestkyst Energi"),
            ("How long is a blade at most?", "118 metres"),
            ("When will the plant run at full speed?", "early 2027"),
            ("How did the stock market react?", "3.8 per cent"),
            ("How much time is saved in shipping?", "eleven days"),
            ("What were Nordwind's sales in 2024?", "DKK 31.7 billion"),
        ),
        (("By how much did revenue grow?", "DKK 2.8 billion", "DKK 31.7 billion", "DKK 28.9 billion"),),
        (
            "Who is the finance director of Nordwind?",
            "How much does one turbine cost?",
            "What profit did Nordwind make in 2019?",
        ),
    ),
    Letter(
        "minutes",
        "Minutes of the board of the Alder Grove housing cooperative",
        (
            "Held on {Tuesday 4 February 2025} at 18:30 in {the community room}. Present: {Rosalind Pike}"
            " (chair), {Emeka Sowande} (treasurer), Birgit Lund, Tomasz Zielak. Apologies: {Hana Mori}.",
            "# Roof",
            "Three offers for the repair of the roof of block C were compared. The board accepted that of"
            " {Ridgeway Roofing} for {86,400 pounds}. Work starts {after Easter} and should take {five "
            "weeks}.",
            "# Accounts",
            "The treasurer reported a surplus of {12,150 pounds} for the year. {Eleven households} are "
            "behind with their payments; reminders go out in March.",
            "# Bicycles",
            "A shed for {forty bicycles} will be built {behind block A}. Members voted {six to two} "
            "against charging for it.",
            "# Next meeting",
            "{Tuesday 6 May}, same place. {Ms. Lund} takes the minutes.",
        ),
        (
            ("Which firm will mend the roof?", "Ridgeway Roofing"),
            ("What will be paid for the new roof?", "86,400 pounds"),
            ("How long will the roofers be busy?", "five weeks"),
            ("How many neighbours owe money?", "Eleven households"),
            ("Who could not come?", "Hana Mori"),
            ("Where will the bike shed stand?", "behind block A"),
            ("When does the board meet again?", "Tuesday 6 May"),
            ("Who looks after the money?", "Emeka Sowande"),
            ("Who writes the record next time?", "Ms. Lund"),
            ("What was left over at the end of the year?", "12,150 pounds"),
        ),
        (("How many members voted on charging?", "8", "six to two"),),
        (
            "What colour will the new roof have?",
            "How many lifts does block B have?",
            "Who is the caretaker?",
        ),
    ),
    Letter(
        "curriculum-vitae",
        "Nadia Ferreira-Holt, structural engineer",
        (
            "Born in {Porto} in 1988. Lives in {Leeds}. Write to {nadia@holt.example}.",
            "# Positions",
            "Since {2019}: {Penrose & Bly}, Leeds. In charge of timber bridges, with {a team of six}.",
            "From 2014 to 2019: {Vasco Pontes SA}, Lisbon. Inspection of {140 road bridges}.",
            "# Education",
            "Master of science at {ETH Zurich} in {2014}, with a thesis on {fatigue of glued joints}. "
            "Before that five years in Porto.",
            "# Languages",
            "Portuguese as a native speaker, English fluently, German at {level B2}, some French.",
            "# Besides",
            "Chartered since {2021}. {Volunteer in mountain rescue}. Licence to drive cars.",
        ),
        (
            ("Where did Nadia grow up?", "Porto"),
            ("Who employs her today?", "Penrose & Bly"),
            ("How many people work for her?", "a team of six"),
            ("At which university did she take her master's degree?", "ETH Zurich"),
            ("What was her dissertation about?", "fatigue of glued joints"),
            ("How good is her German?", "level B2"),
            ("What does she do in her free time?", "Volunteer in mountain rescue"),
            ("How can I reach her by e-mail?", "nadia@holt.example"),
            ("For whom did she work in Portugal?", "Vasco Pontes SA"),
        ),
        (("How many years after her master's did she become chartered?", "7", "2014", "2021"),),
        (
            "What does she earn?",
            "Is she married?",
            "Has she worked in Spain?",
        ),
    ),
    Letter(
        "conference",
        "Baltic soil science days: information for participants",
        (
            "The meeting takes place in {Tartu} from {17 to 19 September 2025}. Registration closes on "
            "{31 July}. The fee is 290 euros, for students {120 euros}; it includes lunch.",
            "Talks last {twenty minutes} and five for questions. Posters must not be larger than {A0 "
            "upright}; they hang from {Wednesday noon}. Files are handed in {one hour} before the "
            "session.",
            "The dinner on Thursday is at {the Vilde restaurant}. On Friday afternoon an excursion leads "
            "to {the Endla bog}; bring {rubber boots}.",
            "The airport is {nine kilometres} away; bus {number 12} goes every half hour. Rooms are kept "
            "for you until {15 June} at the Hotel Emajogi. Questions go to {Liisa Rebane}.",
        ),
        (
            ("When is the deadline to sign up?", "31 July"),
            ("How much do students pay?", "120 euros"),
            ("How much time does a speaker have?", "twenty minutes"),
            ("How big may my poster be?", "A0 upright"),
            ("Where do we eat on Thursday night?", "the Vilde restaurant"),
            ("What shoes do I need for the field trip?", "rubber boots"),
            ("How do I get into town from the plane?", "number 12"),
            ("Until when can I book a hotel room?", "15 June"),
            ("Whom can I ask?", "Liisa Rebane"),
            ("In which city is the conference?", "Tartu"),
        ),
        (("What do two students pay together?", "240 euros", "120 euros"),),
        (
            "Who pays for the coffee breaks?",
            "Can I cancel and get my money back?",
            "Who gives the opening lecture?",
        ),
    ),
    Letter(
        "allotments",
        "Rules of the Millbrook allotment society",
        (
            "A plot has about {250 square metres} and costs {64 pounds} a year, to be paid by {1 "
            "February}. New members wait for about {three years}.",
            "A third of each plot must be planted with {vegetables or fruit}. Huts may be at most {2.2 "
            "metres} high. Trees must stand {three metres} from the border.",
            "Water is turned on from {April to October}. Hoses are {forbidden}; fill your cans at the "
            "tanks. Fires are lit only {in November}.",
            "Everybody helps on the paths for {six hours} a year; who does not, pays {15 pounds} an hour."
            " The gate is locked with the code that {the warden, Fergus Tolley,} gives out.",
        ),
        (
            ("How big is a garden?", "250 square metres"),
            ("What is the annual rent of a plot?", "64 pounds"),
            ("How long is the waiting list?", "three years"),
            ("How tall may a shed be?", "2.2 metres"),
            ("When can I burn my rubbish?", "in November"),
            ("May I water with a hosepipe?", "forbidden"),
            ("In which months is there water?", "April to October"),
            ("How much work must I do for the community?", "six hours"),
            ("Who knows the number of the lock?", "the warden, Fergus Tolley,"),
        ),
        (("What does a member pay who never helps on the paths?", "90 pounds", "six hours", "15 pounds"),),
        (
            "May I keep chickens?",
            "Is there a toilet?",
            "How many plots are there?",
        ),
    ),
)
