"""Documents of the pack of letters that people have at home."""

from packs.letters_plan import Letter

HOME = (
    Letter(
        "lease",
        "Residential lease agreement",
        (
            "This lease is made on {14 March 2025} between {Marisol Okonkwo} (the landlord) and Teodor "
            "and Priya Vance (the tenants).",
            "# Premises",
            "The landlord lets the apartment at {418 Larkspur Lane, Unit 7B}, Dunmore, with a storage "
            "locker and {one parking space}.",
            "# Term",
            "The term begins on {1 May 2025} and ends on {30 April 2027}. Either party may end it early "
            "with {ninety days'} written notice after the first twelve months.",
            "# Rent",
            "The tenants pay {$1,845} per month, due on the first day. A late fee of {$60} applies after "
            "the fifth day. The deposit is {$2,750} and is returned within {31 days} of the end of the "
            "term.",
            "# Pets",
            "{No dogs are allowed.} One cat may be kept with a fee of $300.",
            "# Utilities and repairs",
            "Water and garbage are paid by the landlord, electricity by the {tenants}. Requests are sent "
            "to repairs@larkspur.example or by phone to {(541) 555-0188}. Urgent faults are answered "
            "within {24 hours}.",
        ),
        (
            ("Who owns the apartment?", "Marisol Okonkwo"),
            ("When does the lease run out?", "30 April 2027"),
            ("How much does the flat cost each month?", "$1,845"),
            ("What must I pay if the rent comes too late?", "$60"),
            ("May I have a dog?", "No dogs are allowed."),
            ("How soon do I get the deposit back?", "31 days"),
            ("Which number do I call when something is broken?", "(541) 555-0188"),
            ("How long before moving out must I give notice?", "ninety days'"),
            ("Who has to pay for power?", "tenants"),
            ("Where is the apartment?", "418 Larkspur Lane, Unit 7B"),
        ),
        (("How many months does the tenancy last?", "24", "1 May 2025", "30 April 2027"),),
        (
            "How many bedrooms does the apartment have?",
            "What is the rent of unit 9C?",
            "Is smoking allowed on the balcony?",
        ),
    ),
    Letter(
        "dishwasher",
        "CleanWave 600 dishwasher: instructions",
        (
            "# Before first use",
            "Fill the salt container with {1.2 kg} of coarse salt and one litre of water. Set the "
            "hardness of the water on the control panel.",
            "# Programmes",
            "Eco washes at 50 degrees and takes {3 hours and 15 minutes}. Intensive washes at {70 "
            "degrees}. Glass washes at 40 degrees. Quick is done after {30 minutes} and needs {0.60 kWh}.",
            "# Care",
            "Clean the filter {once a week} under running water. Wipe the seal of the door with a damp "
            "cloth. Descale {every three months}.",
            "# Faults",
            "Message E1: no water comes in; open the tap. Message E4: {there is water in the base}; close"
            " the tap and call service. Message E9: the spray arm is blocked; {take it out and rinse it}.",
            "# Service",
            "Call {0800 555 0142}, weekdays from 8 to 18. The guarantee runs for {36 months} from the "
            "date of purchase.",
        ),
        (
            ("How long is the warranty?", "36 months"),
            ("How much salt goes in at the start?", "1.2 kg"),
            ("How hot does the strongest programme get?", "70 degrees"),
            ("How often should I wash the filter?", "once a week"),
            ("What does error E4 mean?", "there is water in the base"),
            ("What should I do when the display shows E9?", "take it out and rinse it"),
            ("How much electricity does the short programme use?", "0.60 kWh"),
            ("What number do I ring for customer service?", "0800 555 0142"),
            ("When must limescale be removed?", "every three months"),
        ),
        (
            (
                "How much longer than Quick does Eco take?",
                "2 hours and 45 minutes",
                "3 hours and 15 minutes",
                "30 minutes",
            ),
        ),
        (
            "How loud is the machine?",
            "What does the dishwasher cost?",
            "How many plates fit in?",
        ),
    ),
    Letter(
        "travel-insurance",
        "Wayfarer travel insurance: what is covered",
        (
            "Cover applies to journeys of up to {56 days}. The insured are the holder, the partner and "
            "{children below the age of 21}.",
            "# Cancellation",
            "If you fall ill before departure, we refund the price of the trip up to {5,000 euros} a "
            "person. The excess is {20 %}, at least 25 euros.",
            "# Treatment abroad",
            "Doctors and hospitals are paid without limit. Dental treatment is paid for the relief of "
            "pain up to {500 euros}.",
            "# Luggage",
            "Theft from a locked car is covered between 6 a.m. and 10 p.m. up to {1,000 euros}. Cash, "
            "tickets and jewellery are {excluded}.",
            "# Claims",
            "Report a claim within {seven days}. For theft we need {the police report}. The emergency "
            "line is {+49 69 555 0199}, day and night.",
        ),
        (
            ("What is the longest trip that is insured?", "56 days"),
            ("Are my kids insured?", "children below the age of 21"),
            ("How much do I get back if I am sick and cannot leave?", "5,000 euros"),
            ("How large is my own share?", "20 %"),
            ("Do they pay for a dentist?", "500 euros"),
            ("Is a stolen necklace covered?", "excluded"),
            ("How soon must I tell them about a loss?", "seven days"),
            ("Which document is wanted after a robbery?", "the police report"),
            ("Whom can I call in an emergency at night?", "+49 69 555 0199"),
        ),
        (("What do we get for a cancelled trip of two people, at most?", "10,000 euros", "5,000 euros"),),
        (
            "Is skiing covered?",
            "What is the yearly premium?",
            "Are dogs insured on the journey?",
        ),
    ),
    Letter(
        "school-trip",
        "Hollowmere Primary School",
        (
            "{12 May 2025}",
            "Dear parents of Year 4,",
            "on {Thursday 5 June} we go to the {Coalport China Museum}. The coach leaves at {8:45} from "
            "the gate and is back by about {16:15}. Please give your child {a packed lunch, a raincoat} "
            "and no more than {5 pounds} to spend.",
            "The cost is {18 pounds}; brothers and sisters pay half. Please pay through the portal by {23"
            " May}. If your child has an allergy, tell {the office}. We still need two parents to come "
            "along: write to {Mrs. Quennell}.",
            "Kind regards, {Desmond Achebe}, head teacher",
        ),
        (
            ("Where does the class travel?", "Coalport China Museum"),
            ("When does the bus start?", "8:45"),
            ("When will the children return?", "16:15"),
            ("How much pocket money may they take?", "5 pounds"),
            ("What does the outing cost?", "18 pounds"),
            ("Until when must parents pay?", "23 May"),
            ("Who is the headmaster?", "Desmond Achebe"),
            ("Whom do I contact if I want to help?", "Mrs. Quennell"),
            ("What should the children bring?", "a packed lunch, a raincoat"),
        ),
        (("How many hours are the children away?", "7.5", "8:45", "16:15"),),
        (
            "How many children are in the class?",
            "When does the museum close?",
            "Who drives the coach?",
        ),
    ),
    Letter(
        "guest-house",
        "Alpenrose guest house: good to know",
        (
            "Your key opens the house at any time. Breakfast is served from {7:30 to 10:00} in the winter"
            " garden. The password of the wireless network is {edelweiss1904}.",
            "Rooms are free from {three in the afternoon}; on the day you leave please be out by "
            "{eleven}. A cot can be had for {12 euros} a night. Dogs stay for 9 euros, but not in the "
            "dining room.",
            "The sauna is open in the evening from {17:00} on; towels are {in the cupboard beside the "
            "door}. Quiet hours begin at {22:00}.",
            "The bus to the lifts stops {in front of the bakery} every {twenty minutes} and is free with "
            "the guest card. A doctor has her practice in {Kirchgasse 4}.",
            "Your hosts, {Annelie and Veit Brandner}",
        ),
        (
            ("What is the Wi-Fi code?", "edelweiss1904"),
            ("When can I check in?", "three in the afternoon"),
            ("When is check-out?", "eleven"),
            ("How much is a baby bed?", "12 euros"),
            ("How often does the ski bus go?", "twenty minutes"),
            ("Where do I catch the bus?", "in front of the bakery"),
            ("Where can I find a physician?", "Kirchgasse 4"),
            ("Who runs the house?", "Annelie and Veit Brandner"),
            ("From when on must it be quiet?", "22:00"),
            ("Where do I get a towel?", "in the cupboard beside the door"),
        ),
        (("How long can one have breakfast?", "2.5 hours", "7:30 to 10:00"),),
        (
            "Is there a swimming pool?",
            "What does a double room cost?",
            "Is there a lift in the house?",
        ),
    ),
    Letter(
        "bicycle",
        "Your new Tern-Kestrel electric bicycle",
        (
            "Before the first ride charge the battery for {six hours}. A full charge carries you about "
            "{110 kilometres} with the lowest support. The motor helps up to {25 km/h}.",
            "Pump the tyres to {3.5 bar}. Oil the chain after {every ride in the rain}. Have the brakes "
            "looked at after {300 kilometres}, then once a year.",
            "Store the battery between {10 and 25 degrees}, half full. It lasts for about {900 charges}; "
            "a new one costs {540 euros}.",
            "The frame is engraved with its number {below the pedals}. The frame may carry {140 "
            "kilograms} in all. We repair faults of the frame free of charge for {ten years}.",
        ),
        (
            ("How far does it go before it is empty?", "110 kilometres"),
            ("How long does it take to fill the accumulator the first time?", "six hours"),
            ("At which speed does the support end?", "25 km/h"),
            ("What pressure do the wheels need?", "3.5 bar"),
            ("When is the first check of the brakes due?", "300 kilometres"),
            ("How much is a replacement battery?", "540 euros"),
            ("What is the heaviest load?", "140 kilograms"),
            ("How long is the frame guaranteed?", "ten years"),
            ("Where do I find the serial number?", "below the pedals"),
        ),
        (
            (
                "How far does one come with all charges of a battery?",
                "99,000 kilometres",
                "110 kilometres",
                "900 charges",
            ),
        ),
        (
            "Which colours are there?",
            "How heavy is the bicycle?",
            "Does the lamp have a high beam?",
        ),
    ),
)
