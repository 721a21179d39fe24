"""A hook of MkDocs: the reference pages, made of the installed package while the site is built."""

from mkdocs.structure.files import File

from gauntlet.sims.reference import pages


def on_files(files, config):
    for path, text in pages():
        files.append(File.generated(config, path, content=text))
    return files
