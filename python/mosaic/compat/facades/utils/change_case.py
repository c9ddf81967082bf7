"""Names of `mosaic.utils.naming`, where mosaic 1.2 had them."""

from mosaic.utils.naming import camel_case, lowercase, snake_case, uppercase

__all__ = ["camel_case", "lowercase", "snake_case", "uppercase"]
