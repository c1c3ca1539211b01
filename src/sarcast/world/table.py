"""Backscatter of each cover and its responses: one table of values, ranges and sources.

Values are sigma nought at 38 degrees of incidence, without speckle. A random world draws each value
from plus or minus ``half_range`` around it.

References
----------
.. [UD] Ulaby, Dobson, "Handbook of Radar Scattering Statistics for Terrain", 1989.
.. [BCN] Bauer-Marschallinger, Cao, Navacchi et al., Scientific Data 8 (2021) 277, Sentinel-1
   backscatter of the earth's land at 38 degrees, and its slope over incidence.
.. [WBG] Widhalm, Bartsch, Goler, Remote Sensing 10 (2018) 551, incidence dependence of Sentinel-1
   from tundra to boreal forest.
.. [KFL] Kaplan, Fine, Lukyanov et al., Land 10 (2021) 680, incidence dependence of fields.
.. [PHHH] Pulliainen et al., IEEE TGRS 32 (1994) 1041, boreal forest at C band by stem volume,
   moisture and frost.
.. [CRL] Cohen et al., Remote Sensing of Environment 254 (2021) 112267, freeze and thaw.
.. [NRR] Nagler et al., Remote Sensing 8 (2016) 348, wet snow by Sentinel-1.
.. [LDM] Lievens et al., Nature Communications 10 (2019) 4629, dry snow in VH.
.. [BEZ] Baghdadi et al., Remote Sensing 9 (2017) 969, water cloud model at C band.
.. [VWB] Vreugdenhil et al., Remote Sensing 10 (2018) 1396, vegetation in Sentinel-1.
.. [VMB] Veloso et al., Remote Sensing of Environment 199 (2017) 415, crops in Sentinel-1.
.. [RSS] Rüetschi, Schaepman, Small, Remote Sensing 10 (2018) 55, forest phenology in Sentinel-1.
.. [BST] Bechtold et al., Remote Sensing 10 (2018) 536, peatlands and their water table at C band.
.. [H10] Hersbach, J. Atmos. Ocean. Technol. 27 (2010) 721, CMOD5.N, wind over water, VV.
.. [MC] Mouche, Chapron, J. Geophys. Res. Oceans 120 (2015) 7195, the same in VH.
.. [KZV] Koppel et al., Int. J. Remote Sensing 38 (2017) 6298, buildings in Sentinel-1.
.. [DU] Duguay et al., in "Remote Sensing of the Cryosphere", 2015, chapter 12, lake ice.
.. [RSW] Rüetschi, Small, Waser, Remote Sensing 11 (2019) 115, windthrow in Sentinel-1.
.. [BTF] Belenguer-Plomer et al., Remote Sensing of Environment 233 (2019) 111345, burned areas.
.. [TMM] Tsyganskaya et al., Int. J. Remote Sensing 39 (2018) 2255, flooded vegetation.
.. [RMS] Reiche et al., Environ. Res. Lett. 16 (2021) 024005, forest disturbance in Sentinel-1.
.. [ASR] Alatalo, Sipola, Rantonen, IEEE TGRS 61 (2023) 5218714, distributions over Finland.
"""

from dataclasses import dataclass

REFERENCE_INCIDENCE_DEG = 38.0
"""Incidence of the base values: the middle of the interferometric wide swath."""

COLUMNS = ("base", "texture", "per_degree", "wet", "frozen", "wet_snow", "dry_snow", "summer")
"""Responses, dB: ``base`` the level, ``texture`` the standard deviation within a cover,
``per_degree`` dB per degree of local incidence, the others the change from absent to full."""


@dataclass(frozen=True)
class Response:
    """One value of the table in VV and VH, dB, with its half range in random worlds and source."""

    vv: float
    vh: float
    half_range: float
    source: str


@dataclass(frozen=True)
class Cover:
    """A cover type: its class in ESA WorldCover and its responses, in the order of ``COLUMNS``."""

    name: str
    worldcover: int
    base: Response
    texture: Response
    per_degree: Response
    wet: Response
    frozen: Response
    wet_snow: Response
    dry_snow: Response
    summer: Response


FOREST = Cover(
    "forest",
    10,
    base=Response(-9.0, -15.2, 2.0, "ASR, UD table trees"),
    texture=Response(1.1, 1.4, 0.5, "PHHH, spread with stem volume"),
    per_degree=Response(-0.06, -0.05, 0.04, "WBG, BCN"),
    wet=Response(0.7, 0.5, 0.5, "PHHH, BEZ"),
    frozen=Response(-2.2, -2.6, 1.0, "PHHH, CRL"),
    wet_snow=Response(-1.5, -1.2, 0.8, "NRR, CRL"),
    dry_snow=Response(0.1, 0.3, 0.3, "LDM"),
    summer=Response(0.3, 0.9, 0.8, "RSS, VWB"),
)
OPEN = Cover(
    "open",
    30,
    base=Response(-11.8, -18.6, 2.5, "ASR, UD table grasses"),
    texture=Response(0.8, 0.8, 0.4, "UD"),
    per_degree=Response(-0.13, -0.11, 0.05, "WBG, BCN"),
    wet=Response(3.0, 2.2, 1.5, "BEZ"),
    frozen=Response(-2.5, -2.2, 1.2, "CRL"),
    wet_snow=Response(-4.5, -3.5, 1.5, "NRR"),
    dry_snow=Response(0.2, 0.5, 0.4, "LDM"),
    summer=Response(0.2, 1.0, 1.0, "VWB"),
)
FIELD = Cover(
    "field",
    40,
    base=Response(-11.2, -18.4, 2.5, "ASR, UD table soil and short vegetation"),
    texture=Response(1.2, 1.2, 0.6, "VMB, spread between parcels"),
    per_degree=Response(-0.13, -0.11, 0.05, "KFL, BCN"),
    wet=Response(4.0, 3.0, 1.8, "BEZ"),
    frozen=Response(-2.8, -2.4, 1.2, "CRL"),
    wet_snow=Response(-4.5, -3.5, 1.5, "NRR"),
    dry_snow=Response(0.2, 0.5, 0.4, "LDM"),
    summer=Response(1.0, 2.8, 1.5, "VMB, VWB"),
)
MIRE = Cover(
    "mire",
    90,
    base=Response(-12.0, -19.2, 2.5, "BST"),
    texture=Response(0.8, 0.8, 0.4, "BST"),
    per_degree=Response(-0.14, -0.12, 0.05, "WBG"),
    wet=Response(2.6, 1.8, 1.3, "BST"),
    frozen=Response(-2.0, -1.8, 1.0, "CRL"),
    wet_snow=Response(-4.0, -3.0, 1.5, "NRR"),
    dry_snow=Response(0.2, 0.5, 0.4, "LDM"),
    summer=Response(0.4, 1.2, 0.8, "VWB"),
)
WATER = Cover(
    "water",
    80,
    base=Response(-19.0, -27.0, 3.0, "H10 at 3 to 5 m/s with noise of -24 dB, MC"),
    texture=Response(0.2, 0.2, 0.1, "H10, wind over one lake is nearly the same"),
    per_degree=Response(-0.35, -0.12, 0.1, "H10 at 3 to 5 m/s with noise of -24 dB, MC"),
    wet=Response(0.0, 0.0, 0.0, "no response by definition"),
    frozen=Response(4.0, 3.0, 2.0, "DU, floating ice over a calm lake"),
    wet_snow=Response(-2.0, -1.0, 1.0, "NRR, DU"),
    dry_snow=Response(0.5, 0.5, 0.4, "DU"),
    summer=Response(0.0, 0.0, 0.0, "no response by definition"),
)
BUILT_UP = Cover(
    "built-up",
    50,
    base=Response(-6.5, -14.0, 2.5, "KZV, UD table roads and houses"),
    texture=Response(2.5, 2.2, 1.0, "KZV"),
    per_degree=Response(-0.05, -0.04, 0.04, "KZV"),
    wet=Response(0.5, 0.4, 0.4, "BEZ, of the soil between"),
    frozen=Response(-0.8, -0.8, 0.6, "CRL, of the vegetation between"),
    wet_snow=Response(-1.5, -1.0, 0.8, "NRR"),
    dry_snow=Response(0.1, 0.1, 0.2, "LDM"),
    summer=Response(0.1, 0.4, 0.4, "VWB"),
)
ROCK = Cover(
    "rock",
    60,
    base=Response(-12.5, -20.5, 3.0, "UD table soil and rock"),
    texture=Response(1.4, 1.4, 0.6, "UD"),
    per_degree=Response(-0.12, -0.10, 0.05, "BCN"),
    wet=Response(1.5, 1.0, 1.2, "BEZ, of thin soil"),
    frozen=Response(-0.8, -0.6, 0.6, "CRL, of thin soil"),
    wet_snow=Response(-4.5, -3.5, 1.5, "NRR"),
    dry_snow=Response(0.3, 0.5, 0.4, "LDM"),
    summer=Response(0.1, 0.2, 0.3, "VWB"),
)

SLASH = Cover(
    "slash",
    30,
    base=Response(-10.4, -17.4, 1.0, "RMS, RSW, felled and not yet cleared"),
    texture=Response(1.2, 1.2, 0.5, "RSW, rough"),
    per_degree=Response(-0.10, -0.08, 0.04, "between forest and open"),
    wet=Response(2.0, 1.5, 1.0, "BEZ, between forest and open"),
    frozen=Response(-2.4, -2.3, 1.0, "CRL"),
    wet_snow=Response(-3.0, -2.4, 1.0, "NRR, between forest and open"),
    dry_snow=Response(0.2, 0.4, 0.3, "LDM"),
    summer=Response(0.1, 0.4, 0.4, "VWB"),
)
CLEARED = Cover(
    "cleared",
    30,
    base=Response(-11.4, -18.6, 1.5, "RMS, ASR open land"),
    texture=Response(1.0, 1.0, 0.4, "UD"),
    per_degree=OPEN.per_degree,
    wet=OPEN.wet,
    frozen=OPEN.frozen,
    wet_snow=OPEN.wet_snow,
    dry_snow=OPEN.dry_snow,
    summer=OPEN.summer,
)
WINDTHROW = Cover(
    "windthrow",
    10,
    base=Response(-9.0, -14.9, 1.0, "RSW, up to 0.5 dB brighter, more in VV after some days"),
    texture=Response(1.8, 1.8, 0.6, "RSW"),
    per_degree=FOREST.per_degree,
    wet=Response(1.5, 1.1, 0.8, "RSW, ground laid open"),
    frozen=FOREST.frozen,
    wet_snow=Response(-2.6, -2.2, 1.0, "NRR, between forest and open"),
    dry_snow=FOREST.dry_snow,
    summer=Response(0.1, 0.2, 0.3, "RSS, of what still stands"),
)
BURNT = Cover(
    "burnt",
    10,
    base=Response(-10.3, -17.9, 1.5, "BTF, VH falls by 2 to 3 dB"),
    texture=Response(1.3, 1.5, 0.5, "BTF"),
    per_degree=Response(-0.10, -0.09, 0.04, "between forest and open"),
    wet=Response(3.0, 1.8, 1.2, "BTF, soil laid open"),
    frozen=FOREST.frozen,
    wet_snow=OPEN.wet_snow,
    dry_snow=OPEN.dry_snow,
    summer=Response(0.0, 0.2, 0.2, "BTF, no leaves"),
)
FLOODED_FOREST = Cover(
    "flooded forest",
    10,
    base=Response(-6.6, -14.4, 1.0, "TMM, trunks and water reflect twice"),
    texture=FOREST.texture,
    per_degree=Response(-0.12, -0.06, 0.05, "TMM, fades at shallow angles"),
    wet=Response(0.2, 0.2, 0.2, "TMM, the ground is under water"),
    frozen=FOREST.frozen,
    wet_snow=FOREST.wet_snow,
    dry_snow=FOREST.dry_snow,
    summer=Response(-0.8, 0.2, 0.6, "TMM, leaves hide the water"),
)
EARTHWORKS = Cover(
    "earthworks",
    60,
    base=Response(-9.8, -18.8, 2.0, "UD table soil, very rough"),
    texture=Response(2.0, 2.0, 0.6, "UD"),
    per_degree=Response(-0.12, -0.10, 0.05, "BCN"),
    wet=FIELD.wet,
    frozen=FIELD.frozen,
    wet_snow=FIELD.wet_snow,
    dry_snow=FIELD.dry_snow,
    summer=Response(0.0, 0.0, 0.1, "bare"),
)

STATES = (SLASH, CLEARED, WINDTHROW, BURNT, FLOODED_FOREST, EARTHWORKS)
"""Ground after a change; a random world draws them as it draws its covers."""
COVERS = (FOREST, OPEN, FIELD, MIRE, WATER, BUILT_UP, ROCK)
NAMES = tuple(cover.name for cover in COVERS)
ROWS = (*COVERS, *STATES)
"""Rows of the table that each world draws."""

WIND_DB = (2.2, 1.1)
"""Standard deviation of open water with the wind, dB, VV and VH: for winds of 3 to 9 m/s from any
direction, 2.2 dB in VV [H10]; half of it is left in VH near the noise [MC]."""
EDGE_DB = 2.5
"""Brightening of a forest edge that faces the sensor, and darkening of one in shadow, dB:
Bouvet et al., Remote Sensing 10 (2018) 1250, the shadowing effect in Sentinel-1."""
CORNER_DB = (4.0, 1.5)
"""Walls square to the look direction relative to walls at 45 degrees, dB, VV and VH [KZV]."""
PLATFORM_DB = ((0.0, 0.0), (0.15, 0.10), (0.05, 0.05), (0.05, 0.05))
"""Calibration relative to Sentinel-1A, dB, (VV, VH) of each of ``conditions.PLATFORMS``: within the
radiometric accuracy found by Schwerdt et al., Remote Sensing 9 (2017) 511."""
