// What is committed under rendered/, by file name: `jsonnet -S -c -m rendered render.jsonnet`, or render.py.
(import 'lib/files.libsonnet')(import 'mixin.libsonnet')
