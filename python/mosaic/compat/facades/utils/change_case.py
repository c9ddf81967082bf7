"""Names of `mosaic.core.naming`, where mosaic 1.2 had them."""

from mosaic.core.naming import camel_case, lowercase, snake_case, uppercase

__all__ = ["camel_case", "lowercase", "snake_case", "uppercase"]
