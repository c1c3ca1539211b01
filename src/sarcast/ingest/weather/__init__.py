"""Daily weather of grids and stations, read by profiles onto the conditions grid."""

from sarcast.ingest.weather.layouts import WeatherOptions
from sarcast.ingest.weather.reading import Weather, read_weather

__all__ = ["Weather", "WeatherOptions", "read_weather"]
