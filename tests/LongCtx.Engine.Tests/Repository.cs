namespace LongCtx.Engine.Tests;

/// <summary>Paths inside the checkout: tests use the bundled models where they lie.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    public static string SmolLM2 => Path.Combine(Root, "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");

    public static string Pg19 => Path.Combine(Root, "models/pg19-7m");

    public static string MiniLM => Path.Combine(Root, "models/all-minilm-l6-v2");

    /// <summary>A file of the copied goldens (Golden/README.md says how they were made).</summary>
    public static string Golden(string name) => Path.Combine(AppContext.BaseDirectory, "Golden", name);

    static string FindRoot()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
            if (File.Exists(Path.Combine(d.FullName, "global.json"))) return d.FullName;
        throw new InvalidOperationException("The tests must run from inside the checkout: global.json was not found above " + AppContext.BaseDirectory);
    }
}
