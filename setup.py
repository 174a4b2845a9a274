"""The packages of the wheel; everything else is in pyproject.toml.

The folders ``launch`` and ``configs`` stand at the top of the repository and are installed as ``ast_jax.launch`` and
``ast_jax.configs``, so that no module of such a common name comes into a user's environment.
"""

from setuptools import find_namespace_packages, setup

INSTALLED_AS = {"ast_jax.launch": "launch", "ast_jax.configs": "configs"}

setup(
    # Namespaces: folders of data, such as ast_jax/export/assets, count as packages.
    packages=[*find_namespace_packages(include=["ast_jax*", "render*"], exclude=["*.__pycache__"]), *INSTALLED_AS],
    package_dir=INSTALLED_AS,
)
