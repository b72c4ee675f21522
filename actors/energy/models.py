"""Energy: what utilities charge, meters, baselines, and consumption by day and month."""

from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors.core.clock import Timestamp
from actors.core.fields import ZoneName
from actors.node.models import NodeId


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


Name = Annotated[str, Field(min_length=1, max_length=100)]
Unit = Annotated[str, Field(min_length=1, max_length=32, examples=["kWh"])]
TimeOfDay = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", examples=["08:00"])]
Price = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=14, decimal_places=6, examples=["0.2450"])]
"""Money per unit, exact: a text in JSON, taken as text or number."""
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]
Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e15)]
Id = Annotated[int, Field(ge=1, lt=2**63)]


class _Tariff(_Input):
    zone: ZoneName = "UTC"
    """Time zone in which days and months of the bill begin."""
    fixed: Price = Decimal(0)
    """Money per month, whatever is consumed."""


class FlatTariff(_Tariff):
    """One price per unit."""

    kind: Literal["flat"] = "flat"
    price: Price


class PricePeriod(_Input):
    """A price from `start` up to `end` local time, on some weekdays (1 is Monday) of some months."""

    name: str = Field(default="", max_length=100, examples=["peak"])
    start: TimeOfDay = "00:00"
    end: TimeOfDay = "24:00"
    weekdays: list[Annotated[int, Field(ge=1, le=7)]] = Field(default=[1, 2, 3, 4, 5, 6, 7], max_length=7)
    months: list[Annotated[int, Field(ge=1, le=12)]] = Field(default=[*range(1, 13)], max_length=12)
    price: Price

    @model_validator(mode="after")
    def _in_order(self) -> "PricePeriod":
        if _minutes(self.start) >= _minutes(self.end):
            raise ValueError("start must lie before end; a period over midnight is two periods")
        return self

    def minutes(self) -> tuple[int, int]:
        """Give start and end as minutes of the day."""
        return _minutes(self.start), _minutes(self.end)


class TimeOfUseTariff(_Tariff):
    """Prices by time of day, weekday and month; the first period that fits counts, else `otherwise`."""

    kind: Literal["time_of_use"] = "time_of_use"
    periods: list[PricePeriod] = Field(min_length=1, max_length=50)
    otherwise: Price


class Tier(_Input):
    """A price up to an amount per month; the last tier has none."""

    up_to: Annotated[Decimal, Field(gt=0, le=10**12, max_digits=18, decimal_places=6)] | None = None
    price: Price


class TieredTariff(_Tariff):
    """Prices by how much has been consumed in the month."""

    kind: Literal["tiered"] = "tiered"
    tiers: list[Tier] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _rising(self) -> "TieredTariff":
        bounds = [tier.up_to for tier in self.tiers]
        if bounds[-1] is not None or None in bounds[:-1]:
            raise ValueError("the last tier, and only the last, has no up_to")
        inner = [each for each in bounds if each is not None]
        if any(low >= high for low, high in pairwise(inner)):
            raise ValueError("each tier must reach further than the one before")
        return self


class DemandTariff(_Tariff):
    """A price per unit, and one per unit of the month's highest 15-minute demand (such as per kW)."""

    kind: Literal["demand"] = "demand"
    price: Price
    demand_price: Price
    minimum_demand: Amount = 0.0
    """Demand that is charged at least."""


Tariff = Annotated[FlatTariff | TimeOfUseTariff | TieredTariff | DemandTariff, Field(discriminator="kind")]


class NewRate(_Input):
    """What a utility charges."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "City Power, business",
                    "currency": "EUR",
                    "unit": "kWh",
                    "tariff": {
                        "kind": "time_of_use",
                        "zone": "Europe/Vienna",
                        "periods": [
                            {
                                "name": "peak",
                                "start": "08:00",
                                "end": "20:00",
                                "weekdays": [1, 2, 3, 4, 5],
                                "price": "0.3150",
                            }
                        ],
                        "otherwise": "0.2150",
                        "fixed": "12.50",
                    },
                }
            ]
        },
    )

    name: Name
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])
    unit: Unit = "kWh"
    tariff: Tariff


class Rate(NewRate):
    """A stored rate."""

    id: int
    site: str = ""


class MeterKind(StrEnum):
    """What a meter measures."""

    ELECTRIC = "electric"
    GAS = "gas"
    WATER = "water"
    STEAM = "steam"
    HEAT = "heat"
    COOLING = "cooling"


class Reading(StrEnum):
    """Whether a meter's point gives the power of the moment or a counter of what was consumed."""

    POWER = "power"
    COUNTER = "counter"


class NewMeter(_Input):
    """A point that measures consumption. `unit` is that of consumption: a point in kW makes kWh."""

    name: Name = Field(examples=["Main electric"])
    node_id: NodeId = Field(examples=["meter-1/energy"])
    kind: MeterKind = MeterKind.ELECTRIC
    unit: Unit = "kWh"
    reading: Reading = Reading.COUNTER
    rollover: float | None = Field(default=None, gt=0, le=1e15, description="Where the counter begins again.")
    multiplier: float = Field(default=1.0, gt=0, le=1e9, description="Point value to unit, such as 0.1.")
    parent_id: Id | None = Field(default=None, description="The meter whose consumption includes this one's.")
    rate_id: Id | None = None

    @model_validator(mode="after")
    def _counters_roll_over(self) -> "NewMeter":
        if self.rollover is not None and self.reading is Reading.POWER:
            raise ValueError("only a counter has a rollover")
        return self


class Meter(NewMeter):
    """A stored meter."""

    id: int
    site: str = ""


class Interval(StrEnum):
    """For how long one observation of a baseline counts."""

    HOURLY = "hourly"
    DAILY = "daily"
    MONTHLY = "monthly"


class Observation(_Input):
    """Degree days of an interval (kelvin times days) and what was consumed in it."""

    degree_days: Amount
    consumption: Amount


class NewBaseline(_Input):
    """Observations of a period to which consumption is to be compared by a regression over degree days."""

    meter_id: Id
    name: Name = Field(examples=["2025, before the refit"])
    degree_days: Literal["heating", "cooling"] = "heating"
    base_temperature: float = Field(ge=-50, le=60, examples=[15.5], description="Degrees Celsius.")
    interval: Interval = Interval.MONTHLY
    start: Timestamp
    end: Timestamp
    observations: list[Observation] = Field(min_length=3, max_length=9000)

    @model_validator(mode="after")
    def _in_order(self) -> "NewBaseline":
        if self.start >= self.end:
            raise ValueError("start must lie before end")
        return self


class Fit(BaseModel):
    """A line through observations and how well it fits; CV(RMSE) and NMBE in percent."""

    slope: float
    intercept: float
    n: int
    r2: float
    cv_rmse: float
    nmbe: float


class Baseline(Fit):
    """A stored baseline: consumption of an interval is `intercept + slope * degree_days`."""

    id: int
    site: str = ""
    meter_id: int
    name: str
    degree_days: Literal["heating", "cooling"]
    base_temperature: float
    interval: Interval
    start: Timestamp
    end: Timestamp
    acceptable: bool | None
    """Whether it is within the limits of ASHRAE Guideline 14; None: it has none for this interval."""
    created_at: Timestamp


class Period(StrEnum):
    """Over what a rollup sums up: a local day or month."""

    DAY = "day"
    MONTH = "month"


class NewRollup(_Input):
    """What a meter has consumed in a day or month; partial until all data of it is there."""

    meter_id: Id
    period: Period
    start: Timestamp
    end: Timestamp
    consumption: Finite
    peak: Finite | None = None
    """Highest 15-minute demand, in the meter's unit per hour."""
    peak_at: Timestamp | None = None
    load_factor: Finite | None = None
    cost: Decimal | None = Field(default=None, max_digits=24, decimal_places=6)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    coverage: float = Field(default=1.0, ge=0, le=1)
    """The share of its time for which there is data."""
    final: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "NewRollup":
        if self.start >= self.end:
            raise ValueError("start must lie before end")
        if (self.cost is None) != (self.currency is None):
            raise ValueError("cost and currency go together")
        return self


class Rollup(NewRollup):
    """A stored rollup."""

    id: int
    site: str = ""
    updated_at: Timestamp


class KindTotal(BaseModel):
    """Consumption of one kind in one unit, of meters that aren't part of another one."""

    kind: MeterKind
    unit: str
    meters: int
    consumption: float


class EnergySummary(BaseModel):
    """Consumption and cost over a range of days."""

    totals: list[KindTotal] = []
    costs: dict[str, Decimal] = {}
    """Money by currency."""
    partial: bool = False
    """Whether days are in it that aren't final."""
