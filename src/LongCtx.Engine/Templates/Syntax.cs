namespace LongCtx.Engine.Templates;

/// <summary>Syntax tree of a template. Lines are for messages.</summary>
internal abstract record Node(int Line);

internal abstract record Expression(int Line) : Node(Line);

internal sealed record Literal(int Line, object? Value) : Expression(Line);

internal sealed record Name(int Line, string Id) : Expression(Line);

internal sealed record ListLiteral(int Line, IReadOnlyList<Expression> Items, bool Tuple) : Expression(Line);

internal sealed record DictLiteral(int Line, IReadOnlyList<(Expression Key, Expression Value)> Items) : Expression(Line);

internal sealed record Member(int Line, Expression Object, string Id) : Expression(Line);

internal sealed record Index(int Line, Expression Object, Expression Key) : Expression(Line);

internal sealed record Slice(int Line, Expression Object, Expression? From, Expression? To, Expression? Step) : Expression(Line);

internal sealed record Arguments(IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Named)
{
    public static readonly Arguments None = new([], []);
}

internal sealed record Call(int Line, Expression Callee, Arguments Arguments) : Expression(Line);

internal sealed record Filter(int Line, Expression Input, string Id, Arguments Arguments) : Expression(Line);

internal sealed record Test(int Line, Expression Input, string Id, Arguments Arguments, bool Negated) : Expression(Line);

internal sealed record Unary(int Line, string Operator, Expression Operand) : Expression(Line);

internal sealed record Binary(int Line, string Operator, Expression Left, Expression Right) : Expression(Line);

/// <summary>a &lt; b &lt; c: each neighbouring pair holds.</summary>
internal sealed record Comparison(int Line, Expression First, IReadOnlyList<(string Operator, Expression Right)> Rest) : Expression(Line);

internal sealed record Conditional(int Line, Expression Test, Expression Then, Expression? Else) : Expression(Line);

/// <summary>A value that stands where an expression is expected: the text of a block on its way through filters.</summary>
internal sealed record Given(int Line) : Expression(Line);

internal abstract record Statement(int Line) : Node(Line);

internal sealed record Text(int Line, string Value) : Statement(Line);

internal sealed record Print(int Line, Expression Value) : Statement(Line);

internal sealed record If(int Line, IReadOnlyList<(Expression Test, IReadOnlyList<Statement> Body)> Branches, IReadOnlyList<Statement> Else) : Statement(Line);

internal sealed record For(
    int Line, Expression Target, Expression Source, Expression? Condition, IReadOnlyList<Statement> Body, IReadOnlyList<Statement> Else) : Statement(Line);

internal sealed record LoopControl(int Line, bool Break) : Statement(Line);

internal sealed record Set(int Line, Expression Target, Expression Value) : Statement(Line);

/// <param name="Value">Filters over a <see cref="Given"/>.</param>
internal sealed record SetBlock(int Line, Expression Target, Expression Value, IReadOnlyList<Statement> Body) : Statement(Line);

internal sealed record FilterBlock(int Line, Expression Value, IReadOnlyList<Statement> Body) : Statement(Line);

internal sealed record Macro(int Line, string Id, IReadOnlyList<(string Name, Expression? Default)> Parameters, IReadOnlyList<Statement> Body) : Statement(Line);

internal sealed record With(int Line, IReadOnlyList<(Expression Target, Expression Value)> Values, IReadOnlyList<Statement> Body) : Statement(Line);

/// <summary>{% generation %}: marks what the model wrote, for training; nothing but its body here.</summary>
internal sealed record Generation(int Line, IReadOnlyList<Statement> Body) : Statement(Line);
