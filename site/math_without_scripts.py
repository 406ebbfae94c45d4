"""Formulas as MathML, which browsers draw by themselves: no script, no font, no connection."""

from docutils.utils.math import latex2mathml


def _formula(tex, block):
    root = latex2mathml.tex2mathml(tex, as_block=block)
    return root if isinstance(root, str) else root.toxml()


def _inline(writer, node):
    from docutils import nodes

    writer.body.append(_formula(node.astext(), block=False))
    raise nodes.SkipNode


def _block(writer, node):
    from docutils import nodes

    writer.body.append(f'<div class="formula">{_formula(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def add_math(app):
    """Make MathML the way in which pages show formulas."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
