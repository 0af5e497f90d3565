"""Simple general knowledge about the things and places of the world."""

from __future__ import annotations

PLACE_FACTS: dict[str, tuple[str, ...]] = {
    "meadow": (
        "Meadows are open fields of grass where animals graze and wild flowers grow.",
        "A meadow is a good place for a quiet walk, but ticks may hide in the tall grass.",
        "Farmers cut the grass of a meadow in summer and dry it to hay.",
    ),
    "beach": (
        "Beaches are strips of sand beside the sea where people rest and play.",
        "On a beach the sun is strong, so it is wise to sit in the shade at noon.",
        "Waves and currents can be dangerous, so children should not swim alone.",
    ),
    "street": (
        "Streets connect the houses of a town and carry its traffic.",
        "Anyone who crosses a street should look left and right first.",
        "Traffic in a street can be noisy and fast, so people walk at the side.",
    ),
    "living room": (
        "A living room is the place in a home where people sit together and rest.",
        "Small things on the floor of a living room are easy to stumble over.",
        "Warm light makes a living room a cosy place in the evening.",
    ),
    "playground": (
        "Playgrounds are made for children to run, climb and play in the open air.",
        "Soft sand on a playground makes a fall less dangerous.",
        "Neighbours often meet at a playground in the afternoon.",
    ),
}

THING_FACTS: dict[str, tuple[str, ...]] = {
    "dog": (
        "Dogs are loyal animals that like to play and need a walk every day.",
        "An unknown dog may bite, so it is best to ask its owner before stroking it.",
    ),
    "cat": (
        "Cats sleep for most of the day and hunt mice at night.",
        "A cat uses its whiskers to feel its way in the dark.",
    ),
    "bird": (
        "Birds have hollow bones, which makes them light enough to fly.",
        "Many birds travel to warm countries in winter.",
    ),
    "fish": (
        "Fish breathe under water with their gills.",
        "Many fish swim in groups because that keeps them safe.",
    ),
    "horse": (
        "Horses can run fast and have carried people for thousands of years.",
        "Nobody should stand right behind a horse, because it may kick.",
    ),
    "cow": (
        "Cows eat grass and give milk, from which butter and cheese are made.",
        "A cow chews its food twice.",
    ),
    "rabbit": (
        "Rabbits hear very well with their long ears and dig holes to live in.",
        "A rabbit eats leaves and roots and runs away when it is afraid.",
    ),
    "butterfly": (
        "Butterflies begin their life as caterpillars.",
        "A butterfly drinks nectar and carries pollen between blossoms.",
    ),
    "car": (
        "Cars take people quickly from place to place and need fuel or electricity.",
        "Everyone in a car should wear a seat belt.",
    ),
    "bus": (
        "Buses carry many people at once and stop at fixed places.",
        "Taking the bus saves fuel and keeps the roads free.",
    ),
    "truck": (
        "Trucks bring goods to shops and factories.",
        "The driver of a truck can not see everything beside it, so keep your distance.",
    ),
    "boat": (
        "Boats with sails are moved by the wind.",
        "People in a boat should wear life jackets.",
    ),
    "airplane": (
        "Airplanes cross whole oceans in a few hours.",
        "The wings of an airplane lift it when it moves fast enough.",
    ),
    "balloon": (
        "Hot-air balloons rise because warm air is lighter than cold air.",
        "A balloon goes where the wind carries it, so it only flies in calm weather.",
    ),
    "bicycle": (
        "Bicycles need no fuel, and riding one is good exercise.",
        "Whoever rides a bicycle should wear a helmet.",
    ),
    "train": (
        "Trains run on rails; the old ones are driven by steam.",
        "A train needs a long way to stop, so nobody should walk on the rails.",
    ),
    "tree": (
        "Trees give shade, clean the air and are a home for many creatures.",
        "It is dangerous to stand under a tree in a thunderstorm.",
    ),
    "flower": (
        "Flowers attract insects with their colours and their scent.",
        "A flower in a pot needs water and light.",
    ),
    "mushroom": (
        "Some mushrooms can be eaten, but others are very poisonous.",
        "A mushroom is neither a plant nor an animal and likes damp ground.",
    ),
    "house": (
        "Houses keep people warm and dry.",
        "The roof of a house is sloped so that rain and snow run off.",
    ),
    "tent": (
        "Tents are light shelters for people who sleep outdoors.",
        "A fire should never be lit inside a tent.",
    ),
    "lighthouse": (
        "Lighthouses show ships the way at night and warn them of rocks.",
        "The light of a lighthouse can be seen from far away.",
    ),
    "ball": (
        "Balls are used in many games all over the world.",
        "A ball that rolls into the traffic should not be followed.",
    ),
    "umbrella": (
        "Umbrellas protect from rain and from strong sun.",
        "An umbrella can be torn away by a sudden wind.",
    ),
    "kite": (
        "Kites fly best in a steady wind.",
        "A kite must be kept away from power lines.",
    ),
    "chair": (
        "Soft chairs are made for resting and reading.",
        "A good chair supports the back of the person in it.",
    ),
    "table": (
        "Tables are used for meals, games and work.",
        "A cloth on a table keeps it clean.",
    ),
    "lamp": (
        "Lamps give light after dark and need electric power.",
        "The bulb of a lamp can become hot.",
    ),
    "clock": (
        "Clocks tell the time with a short and a long hand.",
        "A clock on a wall can be seen from everywhere in the room.",
    ),
    "robot": (
        "Robots are machines that can do work on their own.",
        "A toy robot needs batteries, which should be recycled when they are empty.",
    ),
}
