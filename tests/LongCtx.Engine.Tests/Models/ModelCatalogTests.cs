using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Files;

namespace LongCtx.Engine.Tests.Models;

public sealed class ModelCatalogTests : IDisposable
{
    readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public void Default_InTheCheckout_FindsTheBundledModels()
    {
        ModelCatalog catalog = ModelCatalog.Default();

        Assert.Superset(
            new HashSet<string> { "all-minilm-l6-v2", "pg19-7m", "smollm2-135m-instruct" },
            catalog.Models.Where(m => m.Bundled).Select(m => m.Name).ToHashSet());
        Assert.Equal(Path.GetFullPath(Repository.SmolLM2), Path.GetFullPath(catalog.Resolve("smollm2-135m-instruct")));
        Assert.Equal(Path.GetFullPath(Repository.Pg19), Path.GetFullPath(catalog.Resolve("PG19-7m")));
        Assert.Equal("smollm2-135m-instruct", catalog.NameOf(Repository.SmolLM2));
        Assert.Equal("pg19-7m", catalog.NameOf(Repository.Pg19 + "/"));
    }

    [Fact]
    public void Models_OfADirectory_AreFoldersAndGgufFiles()
    {
        directory.Write("single.gguf", "x");
        directory.Write("readme.txt", "x");
        directory.Write("hugging/config.json", "{}");
        directory.Write("hugging/extra.gguf", "x");
        directory.Write("one/weights.GGUF", "x");
        directory.Write("two/a.gguf", "x");
        directory.Write("two/b.gguf", "x");
        directory.Write("none/readme.txt", "x");
        ModelCatalog catalog = new([], [directory.Path]);

        Assert.Equal(
            [
                new("hugging", directory.File("hugging"), Bundled: false),
                new("one", directory.File("one/weights.GGUF"), Bundled: false),
                new("single", directory.File("single.gguf"), Bundled: false),
            ],
            catalog.Models);
    }

    [Fact]
    public void Models_OfOneNameInBothPlaces_AreTheLocalOne()
    {
        string bundled = directory.Write("bundled/m/a.gguf", "x"), local = directory.Write("local/m/b.gguf", "x");
        directory.Write("bundled/other/c.gguf", "x");
        ModelCatalog catalog = new([directory.File("bundled")], [directory.File("local"), directory.File("absent")]);

        Assert.Equal(local, catalog.Resolve("m"));
        Assert.NotEqual(bundled, catalog.Resolve("m"));
        Assert.Equal(["other", "m"], catalog.Models.Select(m => m.Name));
    }

    [Fact]
    public void Resolve_Paths_AreTakenAsTheyAre()
    {
        string file = directory.Write("folder/a.gguf", "x"), other = directory.Write("x.bin", "x");
        ModelCatalog catalog = new([], []);

        Assert.Equal(file, catalog.Resolve(file));
        Assert.Equal(other, catalog.Resolve(other));
        Assert.Equal(file, catalog.Resolve(directory.File("folder")));
        Assert.Equal(directory.Path, catalog.Resolve(directory.Path));
        Assert.Equal("a", catalog.NameOf(file));
        Assert.Equal("folder", catalog.NameOf(directory.File("folder")));
    }

    [Fact]
    public void Resolve_UnknownName_ListsTheKnownOnes()
    {
        directory.Write("b.gguf", "x");
        directory.Write("a.gguf", "x");

        LongCtxException e = Assert.Throws<LongCtxException>(() => new ModelCatalog([directory.Path], []).Resolve("gpt-4"));
        Assert.Equal((ErrorCode.ModelNotFound, "model"), (e.Code, e.Parameter));
        Assert.EndsWith("'gpt-4'; known models: a, b", e.Message);

        e = Assert.Throws<LongCtxException>(() => new ModelCatalog([], []).Resolve("gpt-4"));
        Assert.Contains("set LONGCTX_MODELS", e.Message);
    }
}
